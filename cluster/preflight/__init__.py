"""Checks before a run starts: lengths, reference pages, the model, this machine."""
