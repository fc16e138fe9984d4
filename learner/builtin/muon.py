"""Muon optimizer: orthogonalises the momentum matrix before each step; for the matrices inside a model's layers."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic Newton-Schulz iteration: steep at zero, singular values end between 0.7 and 1.2."""
ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """The optimizer of https://kellerjordan.github.io/posts/muon, with Nesterov momentum and no weight decay.

    `torch.optim.Muon` always iterates in bfloat16, which takes forty times as long on CPUs without bfloat16 units; this
    class iterates in `dtype`. In bfloat16 both agree to the bit.
    """

    def __init__(self, params: Iterable[Any], lr: float, dtype: torch.dtype, momentum: float = 0.95) -> None:
        """`params` are [out, in] matrices; `lr` is the step length, `momentum` the decay rate of the momentum."""
        super().__init__(params, {"lr": lr, "momentum": momentum})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient. Raises TypeError when given a closure."""
        if closure is not None:
            raise TypeError("Muon takes no closure; call backward() first, then step()")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(state["momentum"], group["momentum"])
                rows, columns = parameter.shape
                step = group["lr"] * max(1, rows / columns) ** 0.5
                parameter.add_(orthogonalize(update, self.dtype), alpha=-step)


def orthogonalize(update: Tensor, dtype: torch.dtype, epsilon: float = 1e-7) -> Tensor:
    """[out, in] the nearest matrix with all singular values about 1, computed in `dtype` (Newton-Schulz)."""
    a, b, c = COEFFICIENTS
    tall = update.shape[0] > update.shape[1]
    x = update.to(dtype)
    x = x.T if tall else x
    x = x / x.norm().clamp(min=epsilon)
    for _ in range(ITERATIONS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
