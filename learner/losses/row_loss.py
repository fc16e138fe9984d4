"""Loss and metric sums of one packed row; the sums of all rows add up to the batch's."""

from dataclasses import dataclass

import torch
from torch import Tensor

from learner.losses.batch_counts import BatchCounts
from learner.losses.distill import distill_loss, hindsight_loss
from learner.losses.logprobs import likelihood
from learner.losses.loss import Tokens, policy_loss
from learner.packing import PackedRow
from learner.settings import LearnerSettings

SUMS = ("loss", "distill", "entropy", "clipped", "gap", "tail", "kl", "agreed", "computed", "empty")
"""Sums over the rows of all ranks; the largest log-prob gap is kept separately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLoss:
    """Loss and metric sums of one row."""

    loss: Tensor
    """Scalar with a gradient."""
    sums: Tensor
    """[len(SUMS)] in float64."""
    gap_max: Tensor
    logprobs_T: Tensor
    """Log-probs of all learnt tokens, as constants; after the first step on a batch, the old log-probs of later steps.
    """


def row_loss(
    logits_TV: Tensor,
    row: PackedRow,
    counts: BatchCounts,
    settings: LearnerSettings,
    temperature: float,
    *,
    old_T: Tensor | None = None,
    reference_T: Tensor | None = None,
    teacher_TV: Tensor | None = None,
) -> RowLoss:
    """Computes a row's loss and metrics. `logits_TV` predict its learnt tokens; samples were drawn at `temperature`.

    `old_T`: log-probs at the start of the update; None in its first step, which uses the current ones. `reference_T`:
    log-probs under the initial policy; None without a KL term. `teacher_TV`: log-probs of the lessons' tokens under the
    policy with the feedback; None when the feedback's words are distilled.
    """
    logprobs_T, entropies_T = likelihood(logits_TV, row.targets_T, temperatures(row, temperature))
    sampled_T = ~row.lesson_T
    tokens = _tokens(row, logprobs_T, logprobs_T.detach() if old_T is None else old_T, reference_T)
    policy = policy_loss(tokens, counts, settings)
    if teacher_TV is None:
        distill = distill_loss(logprobs_T[row.lesson_T], counts)
    else:
        distill = hindsight_loss(logits_TV[row.lesson_T].float().log_softmax(-1), teacher_TV, counts)
    with torch.no_grad():
        entropy = entropies_T[sampled_T].sum()
        agreed = (logits_TV[row.lesson_T].argmax(-1) == row.targets_T[row.lesson_T]).sum()
        empty = 0 if row.targets_T.numel() else len(row.ids_L)
        read = torch.tensor([len(row.ids_L), empty], dtype=torch.float64, device=logits_TV.device)
        parts = (policy.loss, distill, entropy, policy.clipped, policy.gap_sum, policy.tail, policy.kl, agreed)
        sums = torch.cat([torch.stack([part.double() for part in parts]), read])
    return RowLoss(loss=policy.loss + distill, sums=sums, gap_max=policy.gap_max, logprobs_T=logprobs_T.detach())


def _tokens(row: PackedRow, logprobs_T: Tensor, old_T: Tensor, reference_T: Tensor | None) -> Tokens:
    """The sampled tokens of a row, without lessons."""
    sampled_T = ~row.lesson_T
    return Tokens(
        logprobs_T=logprobs_T[sampled_T],
        old_logprobs_T=old_T[sampled_T],
        engine_logprobs_T=row.engine_logprobs_T[sampled_T],
        advantages_T=row.advantages_T[sampled_T],
        sample_T=row.sequence_T[sampled_T],
        reference_logprobs_T=None if reference_T is None else reference_T[sampled_T],
    )


def temperatures(row: PackedRow, temperature: float) -> Tensor:
    """[T] divisors of the logits: `temperature` for samples, 1 for lessons."""
    return torch.where(row.lesson_T, 1.0, temperature)


def metrics_of(sums: dict[str, float], counts: BatchCounts, settings: LearnerSettings) -> dict[str, float]:
    """Metrics of an update from the SUMS of all its rows."""
    tokens = max(1, counts.tokens)
    kl = {"kl": sums["kl"] / tokens} if settings.kl_weight else {}
    return kl | {
        "loss": sums["loss"],
        "distill_loss": sums["distill"] / counts.distill_weight if counts.distill_weight else 0.0,
        "distill_tokens": counts.distill_tokens,
        "distill_match": sums["agreed"] / max(1, counts.distill_tokens),
        "entropy": sums["entropy"] / tokens,
        "clip_share": sums["clipped"] / tokens,
        "logprob_gap_mean": sums["gap"] / tokens,
        "ratio_tail": sums["tail"] / tokens,
        "tokens": counts.tokens,
        "computed_tokens": sums["computed"],
        "padding_waste": sums["empty"] / max(1.0, sums["computed"]),
    }
