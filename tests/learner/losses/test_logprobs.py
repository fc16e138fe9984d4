"""Tests that log-probs, entropies and gradients equal those of a full log-prob table, without building it."""

import pytest
import torch
from torch import Tensor

from learner.losses.logprobs import TOKENS_AT_ONCE, likelihood


def world(num: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(num)
    logits = (5 * torch.randn(num, 37)).to(dtype).requires_grad_()
    return logits, torch.randint(37, (num,)), torch.where(torch.arange(num) % 3 == 0, 1.0, 0.7)


@pytest.mark.parametrize("num", [0, 1, TOKENS_AT_ONCE, 2 * TOKENS_AT_ONCE + 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logprobs_and_gradients_equal_those_of_a_full_table(num: int, dtype: torch.dtype) -> None:
    logits, targets, temperature = world(num, dtype)
    logprobs, entropies = likelihood(logits, targets, temperature)
    table = (logits.double() / temperature[:, None]).log_softmax(-1)
    wanted = table.gather(-1, targets[:, None])[:, 0]
    assert logprobs.dtype == entropies.dtype == torch.float32
    torch.testing.assert_close(logprobs.double(), wanted, rtol=0, atol=5e-6)
    torch.testing.assert_close(entropies.double(), -(table.exp() * table).sum(-1).detach(), rtol=0, atol=2e-5)
    assert not entropies.requires_grad
    upstream = torch.randn(num)
    (found,) = torch.autograd.grad((logprobs * upstream).sum(), logits)
    (exact,) = torch.autograd.grad((wanted * upstream).sum(), logits)
    assert found.dtype == exact.dtype == dtype
    torch.testing.assert_close(found, exact, **({} if dtype == torch.bfloat16 else {"rtol": 1e-5, "atol": 1e-6}))


def test_large_logits_do_not_overflow() -> None:
    logits, targets, temperature = torch.tensor([[1e4, 0.0], [-1e4, 1e4]]), torch.tensor([0, 0]), torch.ones(2)
    logprobs, entropies = likelihood(logits, targets, temperature)
    assert logprobs.tolist() == [0.0, -2e4]
    assert entropies.tolist() == [0.0, 0.0]


def test_backward_pass_stores_only_the_logits() -> None:
    """Of all [T, V] tensors, only the model's logits are saved for the backward pass."""
    logits, targets, temperature = world(TOKENS_AT_ONCE)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        likelihood(logits, targets, temperature)
    tables = [tensor for tensor in kept if tensor.ndim == 2]
    assert [tensor.data_ptr() for tensor in tables] == [logits.data_ptr()]
