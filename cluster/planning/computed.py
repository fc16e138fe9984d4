"""Costs of a step computed from a model's dimensions and a GPU's data sheet: an estimate before any measurement."""

from cluster.planning.devices import TRAINED, concurrency, longest
from cluster.settings import RunSettings
from cluster.training.bottleneck import Costs
from learner.model_costs.memory import HALF, cache_bytes
from learner.model_costs.operations import GPUModel, operations_per_token
from learner.model_costs.shape import ModelShape

UTILISATION = 0.35
"""Assumed share of a GPU's peak in an update."""
BANDWIDTH_SHARE = 0.6
"""Assumed share of a GPU's memory speed when tokens are generated."""
LINK_BYTES_PER_S = 20e9
"""Assumed speed of a weight sync between GPUs of one machine, with conversion and loading."""
RENDER_S = 0.5
"""Assumed seconds of a browser for a page, with probes or explored controls; 0.15 s for the built-in designs."""
VISUAL_S = 0.1
"""Assumed seconds of a judgment by the visual critic."""
JUDGED_S = 4.0
"""Assumed seconds of a judgment by a served model when many run at once."""
JUDGED_AT_ONCE = 64
"""Judgments that a served model answers at once."""
PAGE_SHARE = 0.5
"""Assumed length of a page, as a share of `episode.max_tokens`."""
ASSUMED = (
    f"computed, not measured: {UTILISATION:.0%} of the GPU's peak in updates, {BANDWIDTH_SHARE:.0%} of its memory "
    f"speed in generation, pages of {PAGE_SHARE:.0%} of episode.max_tokens, {RENDER_S:g} s for a page in a browser"
)
"""The assumptions of these costs."""


def computed_costs(
    settings: RunSettings, shape: ModelShape, gpu: GPUModel, judged: float, sampled: float, kept: float
) -> Costs:
    """Costs of a step; an episode has so many attempts that are judged, sampled and kept."""
    episodes = settings.groups * settings.group_size
    page = PAGE_SHARE * settings.episode.max_tokens
    served = settings.critic.served or any(one.kind == "http" for one in settings.critic.members.values())
    judgment_s = JUDGED_S / JUDGED_AT_ONCE if served else VISUAL_S
    critics = settings.critic.count if served else 1
    tokens = episodes * kept * (2 * page if settings.episode.rounds else page)
    return Costs(
        busy={
            "browser": episodes * judged * RENDER_S,
            "critic": episodes * judged * judgment_s * critics / max(1, settings.judge.count if served else critics),
            "policy": episodes * sampled * page / generated_per_s(settings, shape, gpu),
        },
        busy_learner=tokens / trained_per_s(settings, shape, gpu),
        sync_s=shape.weights * HALF / LINK_BYTES_PER_S + 1,
    )


def generated_per_s(settings: RunSettings, shape: ModelShape, gpu: GPUModel) -> float:
    """Tokens a second of one engine: each step reads the weights once, and the cache of every sequence."""
    at_once = min(concurrency(settings, shape, gpu.gib), max(1, settings.in_flight // settings.policy.engines))
    ranks = settings.policy.tensor_parallel
    read = shape.weights * HALF + at_once * cache_bytes(shape, longest(settings) // 2)
    step_s = read / ranks / (BANDWIDTH_SHARE * gpu.bytes_per_s)
    computed_s = 2 * shape.weights * at_once / ranks / (UTILISATION * gpu.operations_per_s)
    return max(1, at_once) / max(step_s, computed_s)


def trained_per_s(settings: RunSettings, shape: ModelShape, gpu: GPUModel) -> float:
    """Tokens a second of one learner rank; recomputed activations cost a third more."""
    length = longest(settings) // 2
    lora = settings.learner.lora_rank > 0
    operations = operations_per_token(shape, [length], round(TRAINED * length), lora=lora)
    again = 4 / 3 if settings.learner.recompute else 1
    return UTILISATION * gpu.operations_per_s / (operations * again)
