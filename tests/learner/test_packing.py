"""Tests of packed rows in which siblings share their prompt, and of the attention over such rows."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from learner.attention import packed_attention
from learner.packing import TokenSequence, group_by_prompt, pack_tensors, ungrouped

PIECES = [
    TokenSequence(prompt_ids=(1, 2, 3), token_ids=(4, 5, 6), logprobs=(-1.0, -2.0, -3.0), advantage=0.5),
    TokenSequence(prompt_ids=(7,), token_ids=(8, 9), logprobs=(-4.0, -5.0), advantage=-0.5),
    TokenSequence(prompt_ids=(1, 2, 3), token_ids=(9,), logprobs=(-6.0,), advantage=1.5),
    TokenSequence(prompt_ids=(1, 2, 3), token_ids=(5, 5), lesson=True),
]


def test_siblings_share_their_prompt_in_a_row() -> None:
    group, only = group_by_prompt(PIECES, 99)
    row = pack_tensors([group, only], "cpu")
    assert row.ids_L.tolist() == [1, 2, 3, 4, 5, 5, 7, 8]
    assert row.positions_L.tolist() == [0, 1, 2, 3, 4, 3, 0, 1]
    assert row.spans == [[3, 2, 1], [2]]
    # The prompt's last token predicts the first token of each sibling; every other token is predicted by the one
    # before.
    assert row.reading_T.tolist() == [2, 3, 4, 2, 2, 5, 6, 7]
    assert row.targets_T.tolist() == [4, 5, 6, 9, 5, 5, 8, 9]
    assert row.sequence_T.tolist() == [0, 0, 0, 1, 2, 2, 3, 3]
    assert row.lesson_T.tolist() == [False] * 4 + [True] * 2 + [False] * 2
    assert row.advantages_T.tolist() == [0.5, 0.5, 0.5, 1.5, 0.0, 0.0, -0.5, -0.5]
    assert row.engine_logprobs_T.tolist() == [-1, -2, -3, -6, 0, 0, -4, -5]


def test_prefix_group_and_its_teacher_views_stay_within_the_limit() -> None:
    assert [[len(sequence.token_ids) for sequence in one.sequences] for one in group_by_prompt(PIECES, 5)] == [
        [3, 1],
        [2],
        [2],
    ]
    taught = [*PIECES[:3], replace(PIECES[3], shown_ids=(1,) * 9)]
    assert [one.longest for one in group_by_prompt(taught, 9)] == [5, 2, 10]
    assert group_by_prompt(taught, 10)[0].longest == 10


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(1, 9)), min_size=1, max_size=12),
    st.integers(1, 40),
)
def test_every_sequence_is_in_exactly_one_prefix_group(shapes: list[tuple[int, int]], most: int) -> None:
    sequences = [TokenSequence(prompt_ids=(num,) * num, token_ids=tuple(range(length))) for num, length in shapes]
    found = group_by_prompt(sequences, most)
    assert all(one.length <= most or len(one.sequences) == 1 for one in found)
    assert all(len({sequence.prompt_ids for sequence in one.sequences}) == 1 for one in found)
    key = lambda sequence: (sequence.prompt_ids, sequence.token_ids)  # noqa: E731
    assert sorted((sequence for one in found for sequence in one.sequences), key=key) == sorted(sequences, key=key)
    row = pack_tensors(found, "cpu")
    assert len(row.ids_L) == len(row.positions_L) == sum(map(sum, row.spans)) == sum(one.length for one in found)
    assert sum(one.length for one in found) <= sum(one.length for one in ungrouped(sequences))


def masked(query: Tensor, key: Tensor, value: Tensor, spans: list[list[int]]) -> Tensor:
    """The same attention over a whole row with an explicit mask; [1, L, H, D]."""
    groups = query.shape[1] // key.shape[1]
    key, value = (each.repeat_interleave(groups, 1) for each in (key, value))
    seen = torch.zeros(query.shape[2], query.shape[2], dtype=torch.bool)
    start = 0
    for trunk, *branches in spans:
        end = start + trunk
        seen[start:end, start:end] = torch.ones(trunk, trunk, dtype=torch.bool).tril()
        for length in branches:
            seen[end : end + length, start : start + trunk] = True
            seen[end : end + length, end : end + length] = torch.ones(length, length, dtype=torch.bool).tril()
            end += length
        start = end
    scores = (query @ key.transpose(2, 3) / query.shape[3] ** 0.5).masked_fill(~seen, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


@pytest.mark.parametrize("spans", [[[23]], [[4, 3, 7], [5], [2, 2]], [[1, 1, 1], [9, 11]]], ids=str)
@pytest.mark.parametrize("key_heads", [4, 2])
def test_suffixes_attend_to_their_prefix_and_themselves(spans: list[list[int]], key_heads: int) -> None:
    torch.manual_seed(0)
    heads = (4, key_heads, key_heads)
    tensors = [torch.randn(1, num, 23, 8, dtype=torch.float64, requires_grad=True) for num in heads]
    found, _ = packed_attention(None, *tensors, None, spans=spans)
    wanted = masked(*tensors, spans)
    assert found.shape == (1, 23, 4, 8)
    assert (found - wanted).abs().max() < 1e-12
    weights = torch.randn_like(wanted)
    slopes = [torch.autograd.grad((each * weights).sum(), tensors) for each in (found, wanted)]
    assert max((one - other).abs().max() for one, other in zip(*slopes, strict=True)) < 1e-12


@pytest.mark.parametrize(
    "kind", [{"sliding_window": 4}, {"softcap": 2.0}, {"s_aux": torch.tensor([0.5, -1.0])}], ids=str
)
def test_windows_softcaps_and_sinks_are_the_same_packed_and_separate(kind: dict[str, Any]) -> None:
    torch.manual_seed(0)
    tensors = [torch.randn(1, heads, 15, 8, dtype=torch.float64) for heads in (2, 1, 1)]
    found, _ = packed_attention(None, *tensors, None, spans=[[4, 3, 5], [3]], **kind)
    plain, _ = packed_attention(None, *tensors, None, spans=[[4, 3, 5], [3]])
    assert (found - plain).abs().max() > 1e-2
    for places in ([0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 7, 8, 9, 10, 11], [12, 13, 14]):
        alone, _ = packed_attention(None, *(tensor[:, :, places] for tensor in tensors), None, **kind)
        assert (found[:, places] - alone).abs().max() < 1e-12


def test_sliding_window_hides_earlier_tokens() -> None:
    tensors = [torch.randn(1, 2, 9, 8, dtype=torch.float64) for _ in range(3)]
    changed = [tensor.clone() for tensor in tensors]
    for tensor in changed[1:]:
        tensor[:, :, 0] += 1
    spans = [[4, 5]]
    before, after = (
        packed_attention(None, *each, None, spans=spans, sliding_window=3)[0] for each in (tensors, changed)
    )
    assert (before - after).abs().amax((0, 2, 3)).ne(0).tolist() == [True] * 3 + [False] * 6
