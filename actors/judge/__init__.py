"""A judge's vLLM server that the run starts itself."""
