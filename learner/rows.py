"""Packed rows: several samples and lessons end to end in one sequence, as tensors. Suffixes: `_L` one entry an input
token of the row, `_T` one entry a token that is learnt."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rollout.records import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A prompt and what was, or should be, written after it."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float] = ()
    """[T] of the engine that sampled; empty for a lesson, which nobody sampled."""
    advantage: float = 0.0
    lesson: bool = False
    shown_ids: Sequence[int] = ()
    """The prompt under which a teacher reads the same tokens; empty where there is none."""

    @property
    def length(self) -> int:
        """Tokens the model reads: the last one is predicted, never read."""
        return len(self.prompt_ids) + len(self.token_ids) - 1

    @property
    def longest(self) -> int:
        """Tokens the model, or its teacher, reads."""
        return max(self.length, len(self.shown_ids) + len(self.token_ids) - 1)

    def taught(self) -> "Piece":
        """The piece as its teacher reads it."""
        return replace(self, prompt_ids=self.shown_ids, shown_ids=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Pieces end to end; positions start anew with each."""

    ids_L: Tensor
    positions_L: Tensor
    lengths: list[int]
    """Tokens of each piece; they sum to L."""
    reading_T: Tensor
    """Where in the row each learnt token is predicted from: the model's head runs nowhere else."""
    targets_T: Tensor
    lesson_T: Tensor
    piece_T: Tensor
    """Which piece of the row a token belongs to."""
    advantages_T: Tensor
    engine_logprobs_T: Tensor


def piece_of(sample: Sample) -> Piece:
    """A sample as a piece."""
    return Piece(
        prompt_ids=sample.prompt_ids,
        token_ids=sample.token_ids,
        logprobs=sample.logprobs,
        advantage=sample.advantage,
    )


def lay_out(pieces: Sequence[Piece], device: str) -> Row:
    """Pieces as one row. Without pieces: a single token that teaches nothing, to keep ranks in step."""
    ids: list[int] = []
    positions: list[int] = []
    lengths: list[int] = []
    reading: list[int] = []
    targets: list[int] = []
    lesson: list[bool] = []
    origin: list[int] = []
    advantages: list[float] = []
    logprobs: list[float] = []
    for number, piece in enumerate(pieces):
        start, prompt, num = len(ids), len(piece.prompt_ids), len(piece.token_ids)
        ids += [*piece.prompt_ids, *piece.token_ids[:-1]]
        positions += range(piece.length)
        lengths.append(piece.length)
        reading += range(start + prompt - 1, start + piece.length)
        targets += piece.token_ids
        lesson += [piece.lesson] * num
        origin += [number] * num
        advantages += [piece.advantage] * num
        logprobs += piece.logprobs or [0.0] * num
    return Row(
        ids_L=torch.tensor(ids or [0], device=device),
        positions_L=torch.tensor(positions or [0], device=device),
        lengths=lengths or [1],
        reading_T=torch.tensor(reading, dtype=torch.long, device=device),
        targets_T=torch.tensor(targets, dtype=torch.long, device=device),
        lesson_T=torch.tensor(lesson, dtype=torch.bool, device=device),
        piece_T=torch.tensor(origin, dtype=torch.long, device=device),
        advantages_T=torch.tensor(advantages, dtype=torch.float32, device=device),
        engine_logprobs_T=torch.tensor(logprobs, dtype=torch.float32, device=device),
    )
