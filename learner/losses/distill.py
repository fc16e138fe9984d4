"""Feedback distillation losses. Suffixes: `_T` one entry per token, `_V` one per vocabulary entry."""

from torch import Tensor


def distill_loss(logprobs_T: Tensor, *, weight: float, num_tokens: int) -> Tensor:
    """Weighted cross-entropy of feedback tokens given brief and page: −λ/N Σ_t logπ_t.

    `num_tokens` is N, the feedback tokens of the whole batch on all ranks; λ is `weight`.
    """
    return -weight * logprobs_T.sum() / num_tokens


def hindsight_loss(logprobs_TV: Tensor, teacher_TV: Tensor, *, weight: float, num_tokens: int) -> Tensor:
    """Weighted KL on revision tokens, from the policy with the feedback (teacher) to the policy without it.

        λ/N Σ_t Σ_v q_t(v) (log q_t(v) − logπ_t(v))        q_t = sg π(· | brief, page, feedback, y_<t)

    `teacher_TV` is log q, constant; the revision y was sampled from q. Context distillation (Askell et al. 2021, arXiv
    2112.00861) on whole distributions instead of the sampled tokens.
    """
    return weight * (teacher_TV.exp() * (teacher_TV - logprobs_TV)).sum() / num_tokens
