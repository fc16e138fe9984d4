"""Supervised fine-tuning on the references of tasks: damaged pages, training examples, settings."""
