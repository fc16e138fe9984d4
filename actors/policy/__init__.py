"""The policy engine: vLLM and its admission control."""
