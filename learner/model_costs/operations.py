"""Floating point operations of a training token, and the peak of a GPU: the two sides of a utilisation."""

from collections.abc import Sequence

from learner.model_costs.shape import ModelShape

PEAKS = {"H100": 989e12, "H200": 989e12, "B200": 2250e12, "A100": 312e12, "L40S": 362e12, "RTX 4090": 165e12}
"""Peak dense bfloat16 operations a second from vendor data sheets, by a substring of the device name."""
BANDWIDTHS = {"H100": 3.35e12, "H200": 4.8e12, "B200": 8e12, "A100": 2.0e12, "L40S": 0.864e12, "RTX 4090": 1.008e12}
"""Bytes a second of the memory of these devices, from the same data sheets."""


def peak_of(device: str) -> float | None:
    """Peak bfloat16 operations a second of a device; None for an unknown one."""
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def bandwidth_of(device: str) -> float | None:
    """Bytes a second of a device's memory; None for an unknown one."""
    return next((speed for name, speed in BANDWIDTHS.items() if name in device), None)


def operations_per_token(shape: ModelShape, lengths: Sequence[int], trained: int, *, lora: bool = False) -> float:
    """Mean operations of a token in an update, without recomputation.

    `lengths`: tokens of each sample, less its last, which is only predicted; `trained`: predicted tokens of all
    samples. Weights: 2 operations each forward, 2 for activation gradients, and 2 for weight gradients if they are
    trained. Attention: 4 · width for each attended token, on average half of the sample, times 3 with the backward
    pass. The head runs on trained tokens only. Embeddings are table lookups.
    """
    total = sum(lengths)
    weights = shape.layers * shape.layer_weights + trained / total * shape.embedding_weights
    attended = shape.layers * 4 * shape.heads * shape.width * sum(length**2 / 2 for length in lengths) / total
    return (4 if lora else 6) * weights + 3 * attended
