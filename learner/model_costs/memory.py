"""Memory of training and of generation, computed from a model's dimensions; `tests` compares it with measured peaks.

W is the number of weights, n the number of ranks. Bytes of one rank for bfloat16 weights:

    stage   weights   masters and moments   gradients        buffers
    1       2 W       12 W / n              4 W + 2 W        none
    2       2 W       12 W / n              4 W / n + 2 W    a reduction bucket
    3       2 W / n   12 W / n              6 W / n          a reduction bucket, and gathered weights

Gradients are accumulated in float32; those in bfloat16 exist during the backward pass.
"""

from dataclasses import dataclass

from learner.model_costs.shape import ModelShape
from learner.settings import LearnerSettings

BUCKET = 500_000_000
"""Values in DeepSpeed's reduction bucket (`reduce_bucket_size`), which ZeRO-2 and 3 allocate whatever the model."""
GATHERED = 50_000_000
"""Values that ZeRO-3 gathers ahead of their use (`stage3_prefetch_bucket_size`)."""
FLOAT, HALF = 4, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearnerMemory:
    """Bytes on the device of one learner rank at the peak of an update."""

    weights: float
    """Trained or frozen weights, and a reference model."""
    optimizer: float
    """Float32 master weights and AdamW's two moments."""
    gradients: float
    buffers: float
    """Reduction buckets and gathered weights."""
    activations: float
    """Tensors of one packed row that the backward pass needs."""
    logits: float
    """Logits of the row's trained tokens, and their gradient."""

    @property
    def peak(self) -> float:
        """All bytes during an update."""
        return self.resting + self.gradients + self.activations + self.logits

    @property
    def resting(self) -> float:
        """Bytes between updates, without the gradients that some stages keep."""
        return self.weights + self.optimizer + self.buffers


def learner_memory(
    shape: ModelShape, settings: LearnerSettings, tokens: int, trained: int, *, gpu: bool = True
) -> LearnerMemory:
    """Memory of one rank during an update on a row of `tokens` tokens, of which `trained` are trained.

    `gpu`: bfloat16 weights where `settings.dtype` is `auto`, and the effect of `settings.offload`.
    """
    size = HALF if settings.dtype == "bfloat16" or (settings.dtype == "auto" and gpu) else FLOAT
    stage, ranks = settings.zero_stage, settings.ranks
    adapters = adapter_weights(shape, settings.lora_rank)
    learnt = adapters or shape.weights
    offloads = settings.offload if gpu else "none"
    held = shape.weights / (ranks if stage == 3 else 1)
    weights = held * size + (adapters * size if adapters else 0)
    if settings.kl_weight and not adapters:
        weights += held * size
    bucket = 0 if stage == 1 and size == HALF else BUCKET * size
    gathered = min(GATHERED, shape.weights) * size if stage == 3 else 0
    optimizer = 3 * FLOAT * learnt / ranks
    if offloads == "all":
        weights = 0
    if offloads != "none":
        optimizer = 0
    return LearnerMemory(
        weights=weights,
        optimizer=optimizer,
        gradients=_gradients(learnt, stage, ranks, size, offloaded=offloads != "none"),
        buffers=bucket + gathered,
        activations=activation_bytes(shape, tokens, size, recompute=settings.recompute),
        logits=2 * trained * shape.vocab * size,
    )


def _gradients(learnt: float, stage: int, ranks: int, size: int, *, offloaded: bool) -> float:
    """Bytes of the accumulated gradients, and of those of the running backward pass."""
    if size == FLOAT:
        return FLOAT * learnt / (ranks if stage > 1 else 1)
    running = size * learnt / (ranks if stage == 3 else 1)
    if offloaded:
        return running
    return FLOAT * learnt / (ranks if stage > 1 else 1) + running


def activation_bytes(shape: ModelShape, tokens: int, size: int, *, recompute: bool) -> float:
    """Bytes of the activations of `tokens` tokens in values of `size` bytes, in layers as transformers writes them.

    A layer keeps for each token: two norms, each with its input in float32, the normalised and the weighted values; the
    rotated queries and keys, the values and the attention's output; four tensors of the feed-forward network.
    """
    norms = 2 * (FLOAT + 2 * size) * shape.hidden
    attention = 2 * size * (shape.heads + shape.key_heads) * shape.width
    layer = norms + attention + 4 * size * shape.inner
    if recompute:
        return tokens * (shape.layers * size * shape.hidden + layer)
    return tokens * shape.layers * layer


def adapter_weights(shape: ModelShape, rank: int) -> int:
    """Weights of LoRA adapters of all linear layers but the head; 0 without adapters."""
    hidden, keys = shape.hidden, shape.key_heads * shape.width
    queries = shape.heads * shape.width
    pairs = 2 * (hidden + queries) + 2 * (hidden + keys) + 3 * (hidden + shape.inner)
    return shape.layers * rank * pairs


def cache_bytes(shape: ModelShape, tokens: int, size: int = HALF) -> int:
    """Bytes of the keys and values of `tokens` tokens."""
    return 2 * shape.layers * shape.key_heads * shape.width * size * tokens
