"""Floating point operations of a training token, and the peak of a GPU: the two sides of a utilisation."""

from collections.abc import Sequence
from dataclasses import dataclass

from learner.model_costs.shape import ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class GPUModel:
    """A GPU from its vendor's data sheet."""

    operations_per_s: float
    """Peak dense bfloat16 operations a second."""
    bytes_per_s: float
    """Speed of its memory."""
    gib: float
    """Size of its memory."""


GPUS = {
    "H100": GPUModel(operations_per_s=989e12, bytes_per_s=3.35e12, gib=79.6),
    "H200": GPUModel(operations_per_s=989e12, bytes_per_s=4.8e12, gib=140.0),
    "B200": GPUModel(operations_per_s=2250e12, bytes_per_s=8e12, gib=178.0),
    "A100": GPUModel(operations_per_s=312e12, bytes_per_s=2.0e12, gib=79.3),
    "L40S": GPUModel(operations_per_s=362e12, bytes_per_s=0.864e12, gib=44.5),
    "RTX 4090": GPUModel(operations_per_s=165e12, bytes_per_s=1.008e12, gib=23.6),
}
"""Known GPUs by a substring of the device name."""


def gpu_of(device: str) -> GPUModel | None:
    """The data sheet of a device; None for an unknown one."""
    return next((gpu for name, gpu in GPUS.items() if name in device), None)


def peak_of(device: str) -> float | None:
    """Peak bfloat16 operations a second of a device; None for an unknown one."""
    gpu = gpu_of(device)
    return None if gpu is None else gpu.operations_per_s


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
