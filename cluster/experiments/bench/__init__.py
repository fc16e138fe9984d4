"""What this machine manages, measured: a file a part, each in a process of its own."""
