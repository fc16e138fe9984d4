"""What to change: advantages, losses, batches and the DeepSpeed engine that applies them."""
