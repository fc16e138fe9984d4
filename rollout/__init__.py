"""Episodes: records, ports, errors, prompts, answer parsing, and the acceptance rule of Forced Optimization."""
