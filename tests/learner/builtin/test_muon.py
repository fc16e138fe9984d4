"""Tests of Muon: bit-identical to torch's in bfloat16, nearly the same steps in float32."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from learner.builtin.muon import Muon, orthogonalize
from learner.builtin.pretrain import build_optimizers

SHAPES = [(32, 32), (96, 32), (32, 96)]


def matrices() -> list[torch.nn.Parameter]:
    draw = torch.Generator().manual_seed(0)
    return [torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]


def train(parameters: list[torch.nn.Parameter], optimizer: torch.optim.Optimizer, steps: int = 4) -> None:
    draw = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters:
            parameter.grad = torch.randn(parameter.shape, generator=draw)
        optimizer.step()


def test_bfloat16_steps_equal_torch_muon() -> None:
    ours, theirs = matrices(), matrices()
    train(ours, Muon(ours, lr=0.1, dtype=torch.bfloat16))
    train(theirs, torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0))
    for mine, its in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, its, rtol=0.0, atol=0.0)


def test_float32_steps_are_close_to_torch_muon() -> None:
    ours, theirs, start = matrices(), matrices(), matrices()
    train(ours, Muon(ours, lr=0.1, dtype=torch.float32))
    train(theirs, torch.optim.Muon(theirs, lr=0.1, weight_decay=0.0))
    for mine, its, before in zip(ours, theirs, start, strict=True):
        assert (mine - its).norm() < 0.05 * (its - before).norm()


@pytest.mark.parametrize("shape", SHAPES)
def test_update_becomes_nearly_orthogonal(shape: tuple[int, int]) -> None:
    update = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    singular = torch.linalg.svdvals(orthogonalize(update, torch.float32))
    # A square matrix may have singular values near 0, which five iterations do not raise to 1.
    assert singular.max() < 1.3
    assert singular.median() > 0.6


class Products(TorchDispatchMode):
    """Records the dtypes of the operands of every matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.dtypes: set[torch.dtype] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if "mm" in function.__name__:
            self.dtypes |= {value.dtype for value in args if isinstance(value, Tensor)}
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_warm_start_multiplies_matrices_in_its_own_precision(precision: str, dtype: torch.dtype) -> None:
    model = torch.nn.ModuleDict({"layers": torch.nn.Linear(8, 8, bias=False), "head": torch.nn.Linear(8, 8)})
    optimizers = build_optimizers(model, precision)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    with Products() as products:
        for optimizer in optimizers:
            optimizer.step()
    assert products.dtypes == {dtype}
