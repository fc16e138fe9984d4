"""Critic actors: the embedded critic and multimodal judges over HTTP."""
