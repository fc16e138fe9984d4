"""The built-in policy: corpus, tokenizer, pre-training."""
