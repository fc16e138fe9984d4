"""The built-in policy: a small Llama, its tokenizer, corpus and pre-training."""
