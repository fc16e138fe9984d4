"""KL divergence to the initial policy: three per-token estimators and their losses."""

from typing import Literal

import torch
from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]


def kl_terms(logprobs_T: Tensor, reference_logprobs_T: Tensor, estimator: Estimator) -> tuple[Tensor, Tensor]:
    """[T] estimates of KL(π‖π_ref) on tokens sampled from π, and [T] losses whose gradient lowers it.

        d_t = logπ(y_t) − logπ_ref(y_t)
        k1 = d                    unbiased, noisy, of either sign
        k2 = d²/2                 biased, never negative
        k3 = exp(−d) − 1 + d      unbiased, never negative

    Schulman 2020, "Approximating KL divergence". A good estimate is not a good loss: the gradient of k1 is ∇logπ, with
    mean zero, so it constrains nothing. The loss of k1 is therefore the reward penalty sg(d)·∇logπ, which equals k2's
    gradient and has the mean ∇KL of the token. k3's gradient, (1 − exp(−d))·∇logπ, is that of KL(π_ref‖π), which agrees
    near the reference (Tang and Munos 2025, arXiv 2506.09477); GRPO was published with it (arXiv 2402.03300).
    """
    apart_T = logprobs_T - reference_logprobs_T
    if estimator == "k1":
        return apart_T.detach(), apart_T.detach() * logprobs_T
    if estimator == "k2":
        squares_T = apart_T.square() / 2
        return squares_T.detach(), squares_T
    rises_T = torch.expm1(-apart_T) + apart_T
    return rises_T.detach(), rises_T
