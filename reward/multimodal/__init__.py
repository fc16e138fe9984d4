"""Multimodal critic without its network calls: prompts, pictures, requests and the parsing of answers."""
