"""Weight transfer from the learner to the engines: sender and receiver."""
