"""Policy training: advantages, losses, batches, packing and the DeepSpeed engine."""
