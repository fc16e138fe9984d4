"""Feedback distillation: what critics say becomes what the policy knows. Suffixes: `_T` one entry a token, `_V` a word
of the vocabulary."""

from torch import Tensor


def distill_loss(logprobs_T: Tensor, *, weight: float, num_tokens: int) -> Tensor:
    """Weighted cross-entropy of a share of a batch's feedback tokens, given brief and page: −λ/N Σ_t logπ_t.

    `num_tokens` is N, the feedback tokens of the whole batch on all ranks; λ is `weight`.
    """
    return -weight * logprobs_T.sum() / num_tokens


def hindsight_loss(logprobs_TV: Tensor, teacher_TV: Tensor, *, weight: float, num_tokens: int) -> Tensor:
    """Weighted KL of a share of a batch's revision tokens, from the policy that was shown the feedback to it unshown.

        λ/N Σ_t Σ_v q_t(v) (log q_t(v) − logπ_t(v))        q_t = sg π(· | brief, page, feedback, y_<t)

    `teacher_TV` are the log q of the same policy, constants; the revision y was drawn from q. Context distillation
    (Askell et al. 2021, arXiv 2112.00861), with whole distributions where cross-entropy knows one word.
    """
    return weight * (teacher_TV.exp() * (teacher_TV - logprobs_TV)).sum() / num_tokens
