"""Packs samples and distillation targets end to end into one row of tensors; siblings share one copy of their prompt.

Suffixes: `_L` one entry per input token of the row, `_T` one entry per learnt token.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rollout.records import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSequence:
    """A prompt and its completion: a sampled one, or a distillation target (`lesson`)."""

    prompt_ids: Sequence[int]
    token_ids: Sequence[int]
    logprobs: Sequence[float] = ()
    """[T] log-probs from the rollout engine; empty for a lesson, which was not sampled."""
    advantage: float = 0.0
    lesson: bool = False
    shown_ids: Sequence[int] = ()
    """The prompt under which the teacher reads the same tokens; empty without a teacher."""

    @property
    def length(self) -> int:
        """Input tokens: the last token is predicted but never read."""
        return len(self.prompt_ids) + len(self.token_ids) - 1

    def taught(self) -> "TokenSequence":
        """The sequence with the teacher's prompt."""
        return replace(self, prompt_ids=self.shown_ids, shown_ids=())


@dataclass(frozen=True, slots=True)
class PrefixGroup:
    """Sequences with the same prompt, which the model reads once for all of them."""

    pieces: tuple[TokenSequence, ...]

    @property
    def spans(self) -> list[int]:
        """Tokens of the trunk (the shared prompt) and of each branch; a single sequence is one trunk."""
        if len(self.pieces) == 1:
            return [self.pieces[0].length]
        branches = (len(piece.token_ids) - 1 for piece in self.pieces)
        return [len(self.pieces[0].prompt_ids), *(tokens for tokens in branches if tokens)]

    @property
    def length(self) -> int:
        """Input tokens of the group."""
        return sum(self.spans)

    @property
    def longest(self) -> int:
        """Input tokens of the model or of its teacher, whichever are more."""
        return max(self.length, sum(piece.taught().length for piece in self.pieces if piece.shown_ids))


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedRow:
    """Prefix groups end to end. Positions restart at 0 in each group and continue from the prompt in each branch."""

    ids_L: Tensor
    positions_L: Tensor
    spans: list[list[int]]
    """Tokens of each group's trunk and branches; they sum to L."""
    reading_T: Tensor
    """Position in the row from which each learnt token is predicted; the model's head runs only there."""
    targets_T: Tensor
    lesson_T: Tensor
    piece_T: Tensor
    """Index of the sequence that a token belongs to."""
    advantages_T: Tensor
    engine_logprobs_T: Tensor


def sequence_of(sample: Sample) -> TokenSequence:
    """Converts a sample to a token sequence."""
    return TokenSequence(
        prompt_ids=sample.prompt_ids,
        token_ids=sample.token_ids,
        logprobs=sample.logprobs,
        advantage=sample.advantage,
    )


def alone(pieces: Iterable[TokenSequence]) -> list[PrefixGroup]:
    """One prefix group per sequence."""
    return [PrefixGroup((piece,)) for piece in pieces]


def families(pieces: Sequence[TokenSequence], most: int) -> list[PrefixGroup]:
    """Groups sequences by prompt, in order of first appearance, each group at most `most` tokens long."""
    found: list[PrefixGroup] = []
    last: dict[tuple[int, ...], int] = {}
    for piece in pieces:
        prompt = tuple(piece.prompt_ids)
        if prompt in last:
            grown = PrefixGroup((*found[last[prompt]].pieces, piece))
            if grown.longest <= most:
                found[last[prompt]] = grown
                continue
        last[prompt] = len(found)
        found.append(PrefixGroup((piece,)))
    return found


def pack_tensors(families: Sequence[PrefixGroup], device: str) -> PackedRow:
    """Packs prefix groups into one row. Without groups: a single token without targets, which keeps ranks in step."""
    ids: list[int] = []
    positions: list[int] = []
    reading: list[int] = []
    for family in families:
        prompt = family.pieces[0].prompt_ids
        ids += prompt
        positions += range(len(prompt))
        fork = len(ids) - 1
        for piece in family.pieces:
            start = len(ids)
            num = len(piece.token_ids) - 1
            ids += piece.token_ids[:-1]
            positions += range(len(prompt), len(prompt) + num)
            reading += [fork, *range(start, start + num)]
    pieces = [piece for family in families for piece in family.pieces]
    nums = [len(piece.token_ids) for piece in pieces]

    def each(values: Iterable[float], dtype: torch.dtype) -> Tensor:
        """[T] repeats each sequence's value for all of its tokens."""
        return torch.tensor(
            [value for value, num in zip(values, nums, strict=True) for _ in range(num)], dtype=dtype, device=device
        )

    logprobs = [logprob for piece, num in zip(pieces, nums, strict=True) for logprob in piece.logprobs or [0.0] * num]
    return PackedRow(
        ids_L=torch.tensor(ids or [0], device=device),
        positions_L=torch.tensor(positions or [0], device=device),
        spans=[family.spans for family in families] or [[1]],
        reading_T=torch.tensor(reading, dtype=torch.long, device=device),
        targets_T=torch.tensor(
            [token for piece in pieces for token in piece.token_ids], dtype=torch.long, device=device
        ),
        lesson_T=each((piece.lesson for piece in pieces), torch.bool),
        piece_T=each(range(len(pieces)), torch.long),
        advantages_T=each((piece.advantage for piece in pieces), torch.float32),
        engine_logprobs_T=torch.tensor(logprobs, dtype=torch.float32, device=device),
    )
