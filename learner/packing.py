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

    sequences: tuple[TokenSequence, ...]

    @property
    def spans(self) -> list[int]:
        """Tokens of the trunk (the shared prompt) and of each branch; a single sequence is one trunk."""
        if len(self.sequences) == 1:
            return [self.sequences[0].length]
        branches = (len(sequence.token_ids) - 1 for sequence in self.sequences)
        return [len(self.sequences[0].prompt_ids), *(tokens for tokens in branches if tokens)]

    @property
    def length(self) -> int:
        """Input tokens of the group."""
        return sum(self.spans)

    @property
    def longest(self) -> int:
        """Input tokens of the model or of its teacher, whichever are more."""
        return max(self.length, sum(sequence.taught().length for sequence in self.sequences if sequence.shown_ids))


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
    sequence_T: Tensor
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


def ungrouped(sequences: Iterable[TokenSequence]) -> list[PrefixGroup]:
    """One prefix group per sequence."""
    return [PrefixGroup((sequence,)) for sequence in sequences]


def group_by_prompt(sequences: Sequence[TokenSequence], most: int) -> list[PrefixGroup]:
    """Groups sequences by prompt, in order of first appearance, each group at most `most` tokens long."""
    found: list[PrefixGroup] = []
    last: dict[tuple[int, ...], int] = {}
    for sequence in sequences:
        prompt = tuple(sequence.prompt_ids)
        if prompt in last:
            grown = PrefixGroup((*found[last[prompt]].sequences, sequence))
            if grown.longest <= most:
                found[last[prompt]] = grown
                continue
        last[prompt] = len(found)
        found.append(PrefixGroup((sequence,)))
    return found


def pack_tensors(groups: Sequence[PrefixGroup], device: str) -> PackedRow:
    """Packs prefix groups into one row. Without groups: a single token without targets, which keeps ranks in step."""
    ids: list[int] = []
    positions: list[int] = []
    reading: list[int] = []
    for group in groups:
        prompt = group.sequences[0].prompt_ids
        ids += prompt
        positions += range(len(prompt))
        fork = len(ids) - 1
        for sequence in group.sequences:
            start = len(ids)
            num = len(sequence.token_ids) - 1
            ids += sequence.token_ids[:-1]
            positions += range(len(prompt), len(prompt) + num)
            reading += [fork, *range(start, start + num)]
    sequences = [sequence for group in groups for sequence in group.sequences]
    nums = [len(sequence.token_ids) for sequence in sequences]

    def each(values: Iterable[float], dtype: torch.dtype) -> Tensor:
        """[T] repeats each sequence's value for all of its tokens."""
        return torch.tensor(
            [value for value, num in zip(values, nums, strict=True) for _ in range(num)], dtype=dtype, device=device
        )

    logprobs = [
        logprob for sequence, num in zip(sequences, nums, strict=True) for logprob in sequence.logprobs or [0.0] * num
    ]
    return PackedRow(
        ids_L=torch.tensor(ids or [0], device=device),
        positions_L=torch.tensor(positions or [0], device=device),
        spans=[group.spans for group in groups] or [[1]],
        reading_T=torch.tensor(reading, dtype=torch.long, device=device),
        targets_T=torch.tensor(
            [token for sequence in sequences for token in sequence.token_ids], dtype=torch.long, device=device
        ),
        lesson_T=each((sequence.lesson for sequence in sequences), torch.bool),
        sequence_T=each(range(len(sequences)), torch.long),
        advantages_T=each((sequence.advantage for sequence in sequences), torch.float32),
        engine_logprobs_T=torch.tensor(logprobs, dtype=torch.float32, device=device),
    )
