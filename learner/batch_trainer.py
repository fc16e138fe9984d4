"""Optimizer steps on one batch: packing, forward and backward passes of this rank's rows, sums over all ranks."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from learner.batch import one_a_row, pack
from learner.lora import base_alone
from learner.losses.batch_counts import BatchCounts
from learner.losses.logprobs import likelihood
from learner.losses.row_loss import SUMS, row_loss, temperatures
from learner.model import logits_of
from learner.packing import PackedRow, PrefixGroup, TokenSequence, group_by_prompt, pack_tensors, ungrouped
from learner.settings import LearnerSettings


@dataclass(slots=True)
class TrainingRow:
    """A packed row and the results of the first step on it, which later steps on the same batch reuse."""

    row: PackedRow
    shown: PackedRow | None = None
    """The row's lessons with the teacher's prompt, which contains the feedback."""
    old_T: Tensor | None = None
    reference_T: Tensor | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSums:
    """Results of all steps on a batch, over all ranks."""

    sums: dict[str, float]
    """Means over the steps, by the names in `SUMS`."""
    gap_max: float = 0.0
    """Largest |learner − engine| log-prob, in nats."""
    grad_norm: float = 0.0
    """Largest gradient norm of a step, before clipping."""


class BatchTrainer:
    """Trains a DeepSpeed engine on batches. All ranks make every call together, with the same arguments."""

    def __init__(
        self,
        engine: Any,
        settings: LearnerSettings,
        *,
        reference: Any,
        rank: int,
        world_size: int,
        device: str,
        temperature: float,
        packed: bool,
    ) -> None:
        """`reference` computes the KL reference's logits; None without a KL term, and with LoRA, for which the policy
        without adapters is the reference. The other arguments are those of `learner.engine.Engine`."""
        self.engine = engine
        self.settings = settings
        self.reference = reference
        self.rank = rank
        self.world_size = world_size
        self.device = device
        self.temperature = temperature
        self.packed = packed

    def train(self, sequences: list[TokenSequence], counts: BatchCounts, number: int, lr: float) -> TrainingSums:
        """Runs all steps of update `number` at the learning rate `lr`.

        Raises ValueError for a sequence longer than the token budget, and RuntimeError when loss or gradient are not
        finite.
        """
        work = self._work(sequences)
        sums = torch.zeros(len(SUMS), dtype=torch.float64, device=self.device)
        gap_max = 0.0
        norm = 0.0
        for _ in range(self.settings.epochs):
            found, gap = self._accumulate(work, counts, number)
            sums = sums + found
            gap_max = max(gap_max, gap)
            norm = max(norm, self._step(lr, number))
        means = dict(zip(SUMS, (sums / self.settings.epochs).tolist(), strict=True))
        return TrainingSums(sums=means, gap_max=gap_max, grad_norm=norm)

    @torch.no_grad()
    def losses(self, sequences: list[TokenSequence]) -> tuple[float, ...]:
        """[N] cross-entropy of each sequence's tokens in nats, summed over its tokens, at temperature 1."""
        found_N = torch.zeros(len(sequences), dtype=torch.float64, device=self.device)
        deal = pack if self.packed else one_a_row
        rows = deal([sequence.length for sequence in sequences], self.settings.token_budget, self.world_size)
        for indices in rows[self.rank :: self.world_size]:
            row = pack_tensors(ungrouped(sequences[index] for index in indices), self.device)
            ones_T = torch.ones(len(row.targets_T), device=self.device)
            logprobs_T, _ = likelihood(logits_of(self.engine, row), row.targets_T, ones_T)
            places = torch.tensor(indices, dtype=torch.long, device=self.device)
            found_N.index_add_(0, places[row.sequence_T], -logprobs_T.double())
        dist.all_reduce(found_N)
        return tuple(found_N.tolist())

    def _work(self, sequences: list[TokenSequence]) -> list[TrainingRow]:
        """The rows of this rank."""
        shared = group_by_prompt(sequences, self._largest(sequences)) if self.packed else ungrouped(sequences)
        deal = pack if self.packed else one_a_row
        rows = deal([group.longest for group in shared], self.settings.token_budget, self.world_size)
        mine = rows[self.rank :: self.world_size]
        # All ranks have a teacher row for each row, or none has: under ZeRO-3 all must run equally many forwards.
        teach = any(sequence.shown_ids for sequence in sequences)
        return [self._row([shared[index] for index in indices], teach) for indices in mine]

    def _largest(self, sequences: list[TokenSequence]) -> int:
        """Maximum tokens of a prefix group; small with several ranks, so that their loads balance."""
        budget = self.settings.token_budget
        if self.world_size == 1:
            return budget
        return min(budget, sum(sequence.length for sequence in sequences) // (4 * self.world_size))

    def _row(self, shared: list[PrefixGroup], teach: bool) -> TrainingRow:
        shown = ungrouped(sequence.taught() for group in shared for sequence in group.sequences if sequence.shown_ids)
        return TrainingRow(
            row=pack_tensors(shared, self.device), shown=pack_tensors(shown, self.device) if teach else None
        )

    def _accumulate(self, work: list[TrainingRow], counts: BatchCounts, number: int) -> tuple[Tensor, float]:
        """Accumulates gradients of this rank's rows; returns the sums and the largest gap over all ranks."""
        sums = torch.zeros(len(SUMS), dtype=torch.float64, device=self.device)
        gap_max = torch.zeros((), device=self.device)
        for item in work:
            if self.settings.kl_weight and item.reference_T is None:
                item.reference_T = self._under_reference(item.row)
            found = row_loss(
                logits_of(self.engine, item.row),
                item.row,
                counts,
                self.settings,
                self.temperature,
                old_T=item.old_T,
                reference_T=item.reference_T,
                teacher_TV=self._teach(item.shown),
            )
            if item.old_T is None:
                item.old_T = found.logprobs_T
            # DeepSpeed averages over ranks; the sum is needed.
            self.engine.backward(found.loss * self.world_size, scale_wrt_gas=False)
            sums += found.sums
            gap_max = torch.maximum(gap_max, found.gap_max)
        dist.all_reduce(sums)
        dist.all_reduce(gap_max, dist.ReduceOp.MAX)
        if not sums.isfinite().all():
            named = dict(zip(SUMS, sums.tolist(), strict=True))
            raise RuntimeError(f"update {number}: the loss is not finite ({named}); this step changed no weight")
        return sums, gap_max.item()

    @torch.no_grad()
    def _teach(self, shown: PackedRow | None) -> Tensor | None:
        return None if shown is None else logits_of(self.engine, shown).float().log_softmax(-1)

    @torch.no_grad()
    def _under_reference(self, row: PackedRow) -> Tensor:
        if self.reference is not None:
            logits_TV = logits_of(self.reference, row)
        else:
            with base_alone(self.engine.module):
                logits_TV = logits_of(self.engine, row)
        return likelihood(logits_TV, row.targets_T, temperatures(row, self.temperature))[0]

    def _step(self, lr: float, number: int) -> float:
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        if not torch.tensor(norm).isfinite():
            raise RuntimeError(f"update {number}: the gradient's norm is {norm}; go back to the last checkpoint")
        return norm
