"""What happened: records, ports, errors, prompts, parsing, the episode and its one rule of acceptance."""
