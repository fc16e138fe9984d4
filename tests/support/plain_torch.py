"""Reference implementation of the learner: a loop in plain torch, one unpadded sample at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learner.settings import LearnerSettings
from rollout.records import Batch, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One update: its losses, the norm of its gradient, and the gradients after clipping."""

    loss: float
    distill_loss: float
    norm: float
    gradients: dict[str, Tensor]


def read(model: Path) -> Any:
    """The model in transformers, float32, eager attention."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32, attn_implementation="eager")


def train(
    model: Path, batches: Sequence[Batch], settings: LearnerSettings, temperature: float = 1.0
) -> tuple[dict[str, Tensor], list[Step]]:
    """The weights after one update for each batch, and the updates."""
    network, steps = read(model), []
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.lr, betas=settings.betas, weight_decay=0)
    for batch in batches:
        optimizer.zero_grad()
        loss, distilled = 0.0, 0.0
        num = sum(len(sample.token_ids) for sample in batch.samples)
        for sample in batch.samples:
            gained = policy_loss(network, sample, settings, temperature) / num
            gained.backward()
            loss += gained.item()
        lessons = list(_lessons(model, batch))
        words = sum(len(target) for _, target in lessons)
        for prompt, target in lessons:
            missed = -_logprobs(network, prompt, target, 1.0).sum() / words
            (settings.distill_weight * missed).backward()
            distilled += missed.item()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), settings.grad_clip).item()
        gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        optimizer.step()
        steps.append(Step(loss=loss, distill_loss=distilled, norm=norm, gradients=gradients))
    return dict(network.state_dict()), steps


def policy_loss(network: Any, sample: Sample, settings: LearnerSettings, temperature: float) -> Tensor:
    """Sum over a sample's tokens: −w Â r; the ratio r is 1 and contributes only its gradient."""
    logprobs = _logprobs(network, sample.prompt_ids, sample.token_ids, temperature)
    weights = (logprobs.detach() - torch.tensor(sample.logprobs)).exp().clamp(max=settings.rollout_cap)
    return -(weights * sample.advantage * (logprobs - logprobs.detach()).exp()).sum()


def _logprobs(network: Any, prompt: Sequence[int], tokens: Sequence[int], temperature: float) -> Tensor:
    logits = network(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1] / temperature
    return logits.log_softmax(-1).gather(-1, torch.tensor(tokens)[:, None])[:, 0]


def _lessons(model: Path, batch: Batch) -> Iterator[tuple[list[int], list[int]]]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    for lesson in batch.lessons:
        messages = [{"role": message.role, "content": message.content} for message in lesson.messages]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        yield tuple(tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, lesson.target))
