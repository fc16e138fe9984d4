"""The client of a judge's OpenAI-compatible server: address, concurrency, retries, usage."""
