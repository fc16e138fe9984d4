"""The learner: tokens a second on packed samples of the lengths that the built-in policy writes."""

from statistics import median

from cluster.bench.part import Figures, built_in_policy
from rollout.records import Batch, Sample

COMPLETIONS = 64
UPDATES = 4


def bench_learner() -> Figures:
    """Tokens a second of the learner on packed samples of the lengths that the built-in policy writes."""
    from learner.engine import Engine
    from learner.settings import LearnerSettings

    samples = tuple(
        Sample(prompt_ids=(5,) * 90, token_ids=(7,) * (120 + 3 * i), logprobs=(-1.0,) * (120 + 3 * i), advantage=1.0)
        for i in range(COMPLETIONS)
    )
    engine = Engine(built_in_policy(), LearnerSettings(lr=1e-5))
    updates = [engine.update(Batch(samples=samples)) for _ in range(UPDATES)]
    tokens = sum(len(sample.prompt_ids) + len(sample.token_ids) for sample in samples)
    return {
        "tokens": float(tokens),
        "tokens_per_s": tokens / median(update.metrics["seconds"] for update in updates[1:]),
        "padding_waste": updates[-1].metrics["padding_waste"],
    }
