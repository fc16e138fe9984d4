"""Policy losses: per-token gains and the averages over a batch. Suffix `_T`: one entry per token.

| loss      | gain of a token  | averaged over   |
|-----------|------------------|-----------------|
| `dapo`    | `clip_tokens`    | `token_mean`    |
| `grpo`    | `clip_tokens`    | `sequence_mean` |
| `dr_grpo` | `clip_tokens`    | `constant_mean` |
| `gspo`    | `clip_sequences` | `sequence_mean` |
| `cispo`   | `cispo`          | `token_mean`    |

Every average is a sum over tokens divided by a constant that is equal on all rows and ranks, so row losses add up.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from learner.losses.batch_counts import BatchCounts
from learner.losses.importance_weights import rollout_weights, total_of_sample
from learner.losses.kl import kl_terms
from learner.settings import LearnerSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The sampled tokens of one row, all [T]; a sample is never split across rows."""

    logprobs_T: Tensor
    """Log-probs under the current policy, with a gradient."""
    old_logprobs_T: Tensor
    """Log-probs under the learner at the start of the update."""
    engine_logprobs_T: Tensor
    """Log-probs under the rollout engine."""
    advantages_T: Tensor
    sample_T: Tensor
    """Index in the row of the sample that a token belongs to."""
    reference_logprobs_T: Tensor | None = None
    """Log-probs under the initial policy; None without a KL term."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyLoss:
    """A row's policy loss and metrics, as sums over tokens."""

    loss: Tensor
    """Scalar with a gradient."""
    clipped: Tensor
    """Number of tokens with a clipped ratio."""
    gap_sum: Tensor
    """Sum of |learner − engine| log-prob."""
    gap_max: Tensor
    """Largest |learner − engine| log-prob; 0 without tokens."""
    tail: Tensor
    """Number of tokens with an importance weight above the cap."""
    kl: Tensor
    """Sum of the tokens' estimated KL to the reference; 0 without a reference."""


def policy_loss(tokens: Tokens, counts: BatchCounts, settings: LearnerSettings) -> PolicyLoss:
    """A row's part of `settings.loss`, averaged over the whole batch.

        L = −average_t w_t · (gain_t − β · kl_t)

    w_t: the importance weight of learner over engine (`learner.losses.importance_weights`), a constant. β: `kl_weight`,
    see `learner.losses.kl`; without a reference the term is omitted.
    """
    gain, average = LOSSES[settings.loss]
    gains_T, clipped_T = gain(tokens, settings.clip_low, settings.clip_high)
    with torch.no_grad():
        gap_T = tokens.old_logprobs_T - tokens.engine_logprobs_T
        gap_max = gap_T.abs().max() if gap_T.numel() else gap_T.new_zeros(())
    weights_T, beyond_T = rollout_weights(
        gap_T,
        tokens.sample_T,
        form=settings.rollout_correction,
        level=settings.rollout_level,
        cap=settings.rollout_cap,
    )
    kl = gap_T.new_zeros(())
    if tokens.reference_logprobs_T is not None:
        kl_T, penalties_T = kl_terms(tokens.logprobs_T, tokens.reference_logprobs_T, settings.kl_estimator)
        gains_T = gains_T - settings.kl_weight * penalties_T
        kl = kl_T.sum()
    return PolicyLoss(
        loss=-average(weights_T * gains_T, tokens.sample_T, counts, settings),
        clipped=clipped_T.sum(),
        gap_sum=gap_T.abs().sum(),
        gap_max=gap_max,
        tail=beyond_T.sum(),
        kl=kl,
    )


def clip_tokens(tokens: Tokens, low: float, high: float) -> tuple[Tensor, Tensor]:
    """[T] gains, and [T] whether a token was clipped.

        r_t = exp(logπ_t − logπ_old,t)
        g_t = min(r_t Â_t, clip(r_t, 1 − low, 1 + high) Â_t)

    PPO (arXiv 1707.06347); separate lower and upper clips: DAPO (arXiv 2503.14476).
    """
    return _clip(tokens.logprobs_T - tokens.old_logprobs_T, tokens.advantages_T, low, high)


def clip_sequences(tokens: Tokens, low: float, high: float) -> tuple[Tensor, Tensor]:
    """`clip_tokens` with one ratio for all tokens of a sample, their geometric mean.

        s_i = exp(1/|y_i| Σ_t (logπ_t − logπ_old,t))

    GSPO (arXiv 2507.18071). Its ratios stay much nearer to 1: the published clips are 3e-4 and 4e-4.
    """
    apart_T = tokens.logprobs_T - tokens.old_logprobs_T
    mean_T = total_of_sample(apart_T, tokens.sample_T) / _lengths(tokens.sample_T)
    return _clip(mean_T, tokens.advantages_T, low, high)


def cispo(tokens: Tokens, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Clips only the weight, so every token keeps a gradient: g_t = sg(min(r_t, 1 + high)) Â_t logπ_t.

    CISPO (MiniMax-M1, arXiv 2506.13585), published without a lower bound: `low` is unused.
    """
    with torch.no_grad():
        ratio_T = (tokens.logprobs_T - tokens.old_logprobs_T).exp()
    return ratio_T.clamp(max=1 + high) * tokens.advantages_T * tokens.logprobs_T, ratio_T > 1 + high


def _clip(log_ratio_T: Tensor, advantages_T: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    ratio_T = log_ratio_T.exp()
    bounded_T = ratio_T.clamp(1 - low, 1 + high)
    with torch.no_grad():
        clipped_T = bounded_T * advantages_T < ratio_T * advantages_T
    return torch.minimum(ratio_T * advantages_T, bounded_T * advantages_T), clipped_T


def token_mean(values_T: Tensor, sample_T: Tensor, counts: BatchCounts, settings: LearnerSettings) -> Tensor:
    """1/N Σ_i Σ_t x_it: equal weight per token, so long pages count more (DAPO, arXiv 2503.14476)."""
    return values_T.sum() / max(1, counts.tokens)


def sequence_mean(values_T: Tensor, sample_T: Tensor, counts: BatchCounts, settings: LearnerSettings) -> Tensor:
    """1/S Σ_i 1/|y_i| Σ_t x_it: equal weight per page, so tokens of long pages count less (GRPO, arXiv 2402.03300)."""
    return (values_T / _lengths(sample_T)).sum() / max(1, counts.sequences)


def constant_mean(values_T: Tensor, sample_T: Tensor, counts: BatchCounts, settings: LearnerSettings) -> Tensor:
    """1/(S·C) Σ_i Σ_t x_it: the policy gradient's direction, independent of lengths (Dr. GRPO, arXiv 2503.20783).

    C is `settings.length_limit`, in tokens.
    """
    return values_T.sum() / (max(1, counts.sequences) * (settings.length_limit or 0))


def _lengths(sample_T: Tensor) -> Tensor:
    """[T] number of tokens in each token's sample."""
    return total_of_sample(torch.ones_like(sample_T), sample_T)


Gain = Callable[[Tokens, float, float], tuple[Tensor, Tensor]]
Average = Callable[[Tensor, Tensor, BatchCounts, LearnerSettings], Tensor]
LOSSES: dict[str, tuple[Gain, Average]] = {
    "dapo": (clip_tokens, token_mean),
    "grpo": (clip_tokens, sequence_mean),
    "dr_grpo": (clip_tokens, constant_mean),
    "gspo": (clip_sequences, sequence_mean),
    "cispo": (cispo, token_mean),
}
