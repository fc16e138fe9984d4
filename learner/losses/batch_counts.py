"""Counts over a whole batch on all ranks: the divisors of its losses and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

from learner.packing import TokenSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchCounts:
    """Numbers of learnt tokens and sequences; equal on all rows and ranks, so row losses add up."""

    tokens: int = 0
    """Tokens of the samples."""
    sequences: int = 0
    """Samples."""
    distill_tokens: int = 0
    """Tokens of the distillation targets."""
    distill_weight: float = 0.0
    """Weight of the distillation loss in this update."""

    @classmethod
    def of(
        cls, samples: Sequence[TokenSequence], lessons: Sequence[TokenSequence], distill_weight: float
    ) -> "BatchCounts":
        """Counts the tokens and sequences of an update."""
        return cls(
            tokens=sum(len(sequence.token_ids) for sequence in samples),
            sequences=len(samples),
            distill_tokens=sum(len(sequence.token_ids) for sequence in lessons),
            distill_weight=distill_weight,
        )
