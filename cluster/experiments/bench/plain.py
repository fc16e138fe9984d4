"""A plain PyTorch training loop: the baseline of the learner benchmark."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from learner.model import logits_of
from learner.packing import PrefixGroup, TokenSequence, pack_tensors, ungrouped
from learner.settings import LearnerSettings


class PlainLoop:
    """A hand-written learner update: same model and loss, AdamW, no DeepSpeed and no metrics.

    Bfloat16 weights have float32 masters, in GPU memory or, if the learner offloads its own, in main memory.
    """

    def __init__(self, model: Any, settings: LearnerSettings, device: str) -> None:
        """Takes a model of `learner.model.read_model`, with adapters or without."""
        self.model, self.settings, self.device = model.to(device), settings, device
        self.weights = [weight for weight in model.parameters() if weight.requires_grad]
        there = "cpu" if settings.offload != "none" else device
        rough = self.weights[0].dtype != torch.float32
        self.masters = [weight.detach().to(there, torch.float32) for weight in self.weights] if rough else self.weights
        self.optimizer = torch.optim.AdamW(
            self.masters, lr=settings.lr, betas=settings.betas, weight_decay=settings.weight_decay, fused=True
        )

    def update_packed(self, rows: Sequence[Sequence[PrefixGroup]]) -> float:
        """Performs one update from rows packed like the learner's; returns the gradient's norm."""
        num = sum(len(sequence.token_ids) for row in rows for group in row for sequence in group.sequences)
        for groups in rows:
            row = pack_tensors(groups, self.device)
            logits_TV = logits_of(self.model, row).float()
            self._backward(logits_TV, row.targets_T, row.engine_logprobs_T, row.advantages_T, num)
        return self._step()

    def update_padded(self, sequences: Sequence[TokenSequence]) -> float:
        """Performs one update from micro-batches padded to their longest sequence, in the given order.

        The model's attention must support batches. The head runs on trained tokens only, as in a packed row.
        """
        num = sum(len(sequence.token_ids) for sequence in sequences)
        for some in micro_batches(sequences, self.settings.token_budget):
            ids_BL, learnt_BL = _padded(some, self.device)
            hidden_TD = self.model.model(input_ids=ids_BL, use_cache=False).last_hidden_state[learnt_BL]
            logits_TV = self.model.lm_head(hidden_TD).float()
            row = pack_tensors(ungrouped(some), self.device)
            self._backward(logits_TV, row.targets_T, row.engine_logprobs_T, row.advantages_T, num)
        return self._step()

    def _backward(self, logits_TV: Tensor, targets_T: Tensor, engine_T: Tensor, advantages_T: Tensor, num: int) -> None:
        logprobs_T = logits_TV.log_softmax(-1).gather(-1, targets_T[:, None])[:, 0]
        constant_T = logprobs_T.detach()
        weights_T = (constant_T - engine_T).exp().clamp(max=self.settings.rollout_cap)
        loss = -(weights_T * advantages_T * (logprobs_T - constant_T).exp()).sum() / num
        loss.backward()  # type: ignore[no-untyped-call]

    def _step(self) -> float:
        apart = self.masters is not self.weights
        for master, weight in zip(self.masters, self.weights, strict=True) if apart else ():
            master.grad = None if weight.grad is None else weight.grad.to(master.device, torch.float32)
        norm = torch.nn.utils.clip_grad_norm_(self.masters, self.settings.grad_clip).item()
        self.optimizer.step()
        with torch.no_grad():
            for master, weight in zip(self.masters, self.weights, strict=True) if apart else ():
                weight.copy_(master)
        for weight in (*self.masters, *self.weights):
            weight.grad = None
        return norm


def micro_batches(sequences: Sequence[TokenSequence], budget: int) -> Iterator[list[TokenSequence]]:
    """Splits sequences in order into micro-batches of at most `budget` tokens, counted at the longest one's length."""
    some: list[TokenSequence] = []
    for sequence in sequences:
        if some and max(sequence.length, *(one.length for one in some)) * (len(some) + 1) > budget:
            yield some
            some = []
        some.append(sequence)
    yield some


def _padded(sequences: Sequence[TokenSequence], device: str) -> tuple[Tensor, Tensor]:
    """[B, L] ids padded on the right, where causal attention needs no mask, and [B, L] mask of positions that predict
    trained tokens."""
    length = max(sequence.length for sequence in sequences)
    ids_BL = torch.zeros((len(sequences), length), dtype=torch.long)
    learnt_BL = torch.zeros((len(sequences), length), dtype=torch.bool)
    for b, sequence in enumerate(sequences):
        ids_BL[b, : sequence.length] = torch.tensor([*sequence.prompt_ids, *sequence.token_ids[:-1]])
        learnt_BL[b, len(sequence.prompt_ids) - 1 : sequence.length] = True
    return ids_BL.to(device), learnt_BL.to(device)
