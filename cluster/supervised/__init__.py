"""Supervised fine-tuning: corpus, training, samples and report; `cluster.sft` is its command."""
