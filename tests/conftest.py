"""Shared fixtures. Engines are real and marked; everything else runs on the paper crew of `doubles`."""
