"""The training loop of supervised fine-tuning: updates, held-out losses by form, checkpoints.

A resumed training continues from its last checkpoint, with the same batches and learning rates.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from cluster.settings import RunSettings
from cluster.storage.store import Store
from cluster.supervised.corpus import EncodedExample
from learner.supervised.examples import FORMS, batches, mean_losses
from rollout.records import Batch, Demonstration, Update
from rollout.seeds import seed_of

HELD_OUT = "held_out_"
"""Prefix of the metrics with a form's held-out loss; `held_out_loss` is that of all forms."""
GIB = 1 << 30
Row = dict[str, float]
"""Metrics of one update, or of the state before the first one (step 0)."""


class SupervisedModel(Protocol):
    """Protocol of the learner that supervised fine-tuning needs."""

    async def update(self, batch: Batch) -> Update: ...

    async def losses(self, demonstrations: Sequence[Demonstration]) -> tuple[float, ...]: ...

    async def save(self, path: Path) -> None: ...

    async def load(self, path: Path) -> None: ...

    async def peak_memory(self) -> int: ...


@dataclass(kw_only=True)
class Training:
    """The examples of a training and its progress."""

    settings: RunSettings
    store: Store
    examples: Sequence[EncodedExample]
    show: Callable[[Sequence[Row], int], None]
    """Called after each row with the history and the number of updates."""
    history: list[Row] = field(default_factory=list)

    @property
    def training(self) -> list[EncodedExample]:
        """The examples that are trained on."""
        return [example for example in self.examples if not example.held_out]

    @property
    def steps(self) -> int:
        """Number of updates of the whole training."""
        return self.settings.sft.num_steps(len(self.training))

    async def run(self, model: SupervisedModel) -> None:
        """Trains from the last checkpoint, or from the beginning, to the last update.

        Raises LearnerFault, StorageFault, or CheckpointError for a damaged checkpoint.
        """
        done = await self._restore(model)
        if not self.history:
            self._add({"step": 0.0, "seconds_step": 0.0, **await self._held_out(model)})
        training = self.training
        order = batches(len(training), self.settings.sft.batch, self.steps, seed_of(self.settings.seed, "sft"))
        for step in range(done + 1, self.steps + 1):
            await self._step(model, step, [training[index] for index in order[step - 1]])

    async def _step(self, model: SupervisedModel, step: int, batch: Sequence[EncodedExample]) -> None:
        started = time.monotonic()
        update = await model.update(Batch(samples=(), demonstrations=tuple(one.demonstration for one in batch)))
        seconds = time.monotonic() - started
        row = {
            "step": float(step),
            "loss": update.metrics["distill_loss"],
            "match": update.metrics["distill_match"],
            "answer_tokens": update.metrics["distill_tokens"],
            "computed_tokens": update.metrics["computed_tokens"],
            "grad_norm": update.metrics["grad_norm"],
            "lr": update.metrics["lr"],
            "tokens_per_s": update.metrics["computed_tokens"] / seconds,
            "seconds_step": seconds,
        }
        last = step == self.steps
        if last or step % self.settings.sft.evaluate_every == 0:
            row |= await self._held_out(model)
            row["peak_memory_gib"] = await model.peak_memory() / GIB
        self._add(row)
        if last or step % self.settings.checkpoint.every == 0:
            await model.save(self.store.checkpoint(step))
            self.store.write_state(step, {"history": self.history}, self.settings.checkpoint.keep)

    async def _restore(self, model: SupervisedModel) -> int:
        """Loads the newest checkpoint, if there is one. Returns the number of updates that it has made."""
        saved = self.store.saved_steps()
        if not saved:
            return 0
        state: Mapping[str, Any] = self.store.read_state(saved[-1])
        await model.load(self.store.checkpoint(saved[-1]))
        self.history[:] = state["history"]
        return saved[-1]

    async def _held_out(self, model: SupervisedModel) -> Row:
        """Held-out loss by form and of all forms, in nats per answer token."""
        started = time.monotonic()
        held_out = [example for example in self.examples if example.held_out]
        losses = await model.losses([example.demonstration for example in held_out])
        tokens = [len(example.demonstration.token_ids) for example in held_out]
        by_form = mean_losses([example.form for example in held_out], losses, tokens)
        found = {f"{HELD_OUT}{form}": by_form[form] for form in FORMS if form in by_form}
        whole = {f"{HELD_OUT}loss": sum(losses) / sum(tokens), "seconds_held_out": time.monotonic() - started}
        return found | whole

    def _add(self, row: Row) -> None:
        self.history.append(row)
        self.store.write_history(self.history)
        self.show(self.history, self.steps)
