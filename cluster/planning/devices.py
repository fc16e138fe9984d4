"""Memory of the GPUs of a run: what engine, learner rank and judge need, and whether it fits.

An engine that shares a GPU with a learner rank holds its memory while the learner updates, unless it sleeps.
"""

from dataclasses import dataclass

from cluster.settings import RunSettings
from learner.model_costs.memory import HALF, LearnerMemory, cache_bytes, learner_memory
from learner.model_costs.shape import ModelShape

GIB = 1 << 30
RUNTIME_GIB = 1.5
"""Memory of a GPU process for CUDA's context, libraries and communication."""
ENGINE_GIB = 2.0
"""Activations and CUDA graphs of an engine: part of its share of the GPU besides weights and KV cache."""
JUDGE_GIB = 6.0
"""Vision part, activations of pictures and CUDA graphs of a judge."""
FREE = 0.03
"""Share of a GPU's memory that must stay free, for fragmentation."""
TRAINED = 0.85
"""Share of a row's tokens that are trained: prompts of first pages are short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceNeed:
    """Memory of one GPU at one time."""

    what: str
    gib: float
    """Needed memory."""
    has_gib: float
    detail: str

    @property
    def fits(self) -> bool:
        """Whether the memory suffices, with FREE left over."""
        return self.gib <= (1 - FREE) * self.has_gib

    def __str__(self) -> str:
        verdict = "fits" if self.fits else "DOES NOT FIT"
        return f"{self.what:<34}{self.gib:>7.1f} of {self.has_gib:.0f} GiB  {verdict}: {self.detail}"


def device_needs(
    settings: RunSettings, shape: ModelShape, gpu_gib: float, judge: ModelShape | None = None
) -> list[DeviceNeed]:
    """Memory of the GPUs of engines, learner ranks and, if its dimensions are given, of a judge that the run serves.

    `gpu_gib` is the memory of one GPU in GiB.
    """
    judged = [judge_need(settings, judge, gpu_gib)] if judge is not None and settings.judge.model else []
    return [*_policy_needs(settings, shape, gpu_gib), *judged]


def _policy_needs(settings: RunSettings, shape: ModelShape, gpu_gib: float) -> list[DeviceNeed]:
    tokens = settings.learner.token_budget
    learner = learner_memory(shape, settings.learner, tokens, round(TRAINED * tokens))
    engine = engine_need(settings, shape, gpu_gib)
    if not settings.shares_gpus:
        peak = learner.peak / GIB + RUNTIME_GIB
        return [engine, DeviceNeed(what="learner rank", gib=peak, has_gib=gpu_gib, detail=_parts(learner))]
    held = settings.policy.gpu_memory_utilization * gpu_gib
    resting = (learner.resting + _kept_gradients(learner, settings)) / GIB + RUNTIME_GIB
    asleep = settings.policy.sleep_level > 0
    updating = learner.peak / GIB + RUNTIME_GIB + (RUNTIME_GIB if asleep else held)
    words = "the engine sleeps" if asleep else f"the engine holds {held:.1f}"
    return [
        engine,
        DeviceNeed(
            what="shared GPU while playing",
            gib=held + resting,
            has_gib=gpu_gib,
            detail=f"engine {held:.1f}, resting learner {resting:.1f}",
        ),
        DeviceNeed(
            what="shared GPU during an update", gib=updating, has_gib=gpu_gib, detail=f"{_parts(learner)}; {words}"
        ),
    ]


def engine_need(settings: RunSettings, shape: ModelShape, gpu_gib: float) -> DeviceNeed:
    """Memory of one GPU of an engine within its share: weights, and a KV cache for two full sequences at least."""
    policy = settings.policy
    share = policy.gpu_memory_utilization * gpu_gib
    weights = shape.weights * HALF / policy.tensor_parallel / GIB
    least = 2 * cache_bytes(shape, longest(settings)) / policy.tensor_parallel / GIB
    cache = share - weights - ENGINE_GIB
    return DeviceNeed(
        what=f"engine, {policy.gpu_memory_utilization:.0%} of a GPU",
        gib=weights + ENGINE_GIB + least,
        has_gib=share,
        detail=f"weights {weights:.1f}, KV cache {max(0.0, cache):.1f} for {cached_tokens(settings, shape, gpu_gib):,} "
        f"tokens, {concurrency(settings, shape, gpu_gib)} sequences at once",
    )


def judge_need(settings: RunSettings, shape: ModelShape, gpu_gib: float) -> DeviceNeed:
    """Memory of one GPU of a judge within its share: weights of its language model, and two judgments' cache."""
    judge = settings.judge
    weights = shape.weights * HALF / judge.tensor_parallel / GIB
    tokens = judge.max_model_len or settings.learner.token_budget
    least = 2 * cache_bytes(shape, tokens) / judge.tensor_parallel / GIB
    share = judge.gpu_memory_utilization * gpu_gib
    return DeviceNeed(
        what=f"judge, {judge.gpu_memory_utilization:.0%} of a GPU",
        gib=weights + JUDGE_GIB + least,
        has_gib=share,
        detail=f"weights {weights:.1f} without its vision part, KV cache {share - weights - JUDGE_GIB:.1f}",
    )


def cached_tokens(settings: RunSettings, shape: ModelShape, gpu_gib: float) -> int:
    """Tokens that fit into the KV cache of one engine."""
    policy = settings.policy
    share = policy.gpu_memory_utilization * gpu_gib - ENGINE_GIB
    free = share * GIB * policy.tensor_parallel - shape.weights * HALF
    return max(0, int(free / cache_bytes(shape, 1)))


def concurrency(settings: RunSettings, shape: ModelShape, gpu_gib: float) -> int:
    """Sequences that one engine generates at once: `max_num_seqs`, or as many of average length as its cache holds."""
    return min(settings.policy.max_num_seqs, cached_tokens(settings, shape, gpu_gib) // (longest(settings) // 2))


def longest(settings: RunSettings) -> int:
    """Tokens of the longest prompt with its completion."""
    most = settings.policy.max_model_len or settings.learner.token_budget
    return min(most, settings.learner.token_budget)


def _kept_gradients(learner: LearnerMemory, settings: RunSettings) -> float:
    """Bytes of gradients that stay between updates: ZeRO-1 keeps its float32 buffer."""
    return learner.gradients * 2 / 3 if settings.learner.zero_stage == 1 else 0.0


def _parts(learner: LearnerMemory) -> str:
    names = ("weights", "optimizer", "gradients", "buffers", "activations", "logits")
    return ", ".join(f"{name} {getattr(learner, name) / GIB:.1f}" for name in names)
