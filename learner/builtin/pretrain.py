"""Pre-trains the built-in policy on the corpus: a small Llama with random weights and an induction head."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learner.builtin.copying import can_copy, set_induction_head
from learner.builtin.corpus import BROKEN_SHARE, Conversation, conversations
from learner.builtin.muon import Muon
from learner.builtin.settings import WarmStartSettings
from learner.builtin.shipped import LOG
from learner.builtin.tokenizer import END, PAD, learn_tokenizer

VOCABULARY_SAMPLES = 600
"""Conversations from which the vocabulary is learnt."""
BATCH_TOKENS = 4096
"""Tokens of a step, padding included."""
MICRO_TOKENS = 4096
"""Tokens of one forward pass: enough to keep two cores busy."""
POOL = 256
"""Conversations sorted by length at a time, so that rows of a micro-batch need little padding."""
HEAD = 64
"""Width of an attention head."""
WIDTH = 64
"""Row lengths are padded to a multiple of this: the matrix library compiles a kernel for every new shape."""
LR = 0.02
"""Peak learning rate of the matrices (Muon)."""
EMBEDDING_LR = 0.004
"""Peak learning rate of embeddings, head and norms (AdamW)."""
WARMUP = 0.06
"""Share of the steps in which the learning rate rises; it then falls linearly to zero."""
ROTARY_BASE = 1e6
"""Base of the rotary frequencies: half of the pairs hardly turn within a page, so an attention head compares content
with them."""
SAVE_EVERY = 50
"""Steps between states from which an interrupted pre-training goes on."""
STATE = "training.pt"


@dataclass(frozen=True, slots=True)
class CorpusRow:
    """One conversation as token ids; only the target carries a loss."""

    ids: list[int]
    prompt: int
    """Leading ids without a loss."""


def pretrain(
    settings: WarmStartSettings, precision: str, folder: Path, progress: Callable[[int, int, float], None] | None = None
) -> None:
    """Trains and writes model, tokenizer and `LOG` to `folder`; calls `progress(step, steps, loss)` after each step.

    Goes on from the state in `folder` if there is one; the weights are those of an uninterrupted pre-training.
    """
    torch.set_num_threads(settings.threads)
    torch.manual_seed(settings.seed)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    tokenizer = learn_tokenizer(_texts(settings), settings.vocab, settings.context)
    model = build_model(settings, tokenizer)
    optimizers = build_optimizers(model, precision)
    losses = _load_state(folder / STATE, model, optimizers)
    steps = islice(training_steps(settings, tokenizer), len(losses), settings.steps)
    for step, batches in enumerate(steps, start=len(losses) + 1):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * schedule(step / settings.steps)
        losses.append(train_step(model, batches, precision))
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if step % SAVE_EVERY == 0 and step < settings.steps:
            _save_state(folder / STATE, model, optimizers, losses)
        if progress is not None:
            progress(step, settings.steps, losses[-1])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    lines = (f"{step},{loss:.4f}\n" for step, loss in enumerate(losses, start=1))
    (folder / LOG).write_text("step,loss\n" + "".join(lines), encoding="utf-8")
    (folder / STATE).unlink(missing_ok=True)


def _save_state(path: Path, model: Any, optimizers: list[torch.optim.Optimizer], losses: list[float]) -> None:
    state = {"model": model.state_dict(), "optimizers": [one.state_dict() for one in optimizers], "losses": losses}
    aside = path.with_suffix(".part")
    torch.save(state, aside)
    aside.replace(path)


def _load_state(path: Path, model: Any, optimizers: list[torch.optim.Optimizer]) -> list[float]:
    """Restores model and optimizers from a saved state and returns the losses of its steps; [] without a state."""
    if not path.is_file():
        return []
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return list(state["losses"])


def schedule(done: float) -> float:
    """Learning rate as a share of its peak; `done` is the share of completed steps."""
    return min(done / WARMUP, (1 - done) / (1 - WARMUP) + 0.01)


def train_step(model: Any, batches: list[tuple[Tensor, Tensor]], precision: str) -> float:
    """Accumulates gradients of the mean loss per target token over micro-batches; returns that loss in nats."""
    num_targets = sum(int((labels_BT >= 0).sum()) for _, labels_BT in batches)
    total = 0.0
    for ids_BT, labels_BT in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            hidden_BTD = model.model(input_ids=ids_BT).last_hidden_state
            targets_BT = labels_BT >= 0
            logits_NV = model.lm_head(hidden_BTD[targets_BT])
        loss = (
            torch.nn.functional.cross_entropy(logits_NV.float(), labels_BT[targets_BT], reduction="sum") / num_targets
        )
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def build_model(settings: WarmStartSettings, tokenizer: Any) -> Any:
    """A Llama with random weights, and an induction head if it has room for one.

    Embeddings are untied because a tied head goes stale in vLLM on CPU.
    """
    from transformers import LlamaConfig, LlamaForCausalLM

    heads = settings.hidden // HEAD
    config = LlamaConfig(
        vocab_size=settings.vocab,
        hidden_size=settings.hidden,
        intermediate_size=settings.hidden * 11 // 4,
        num_hidden_layers=settings.layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=settings.context,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.convert_tokens_to_ids(END),
        pad_token_id=tokenizer.convert_tokens_to_ids(PAD),
        rope_parameters={"rope_type": "default", "rope_theta": ROTARY_BASE},
        attn_implementation="sdpa",
    )
    model = LlamaForCausalLM(config).train()
    if can_copy(config):
        set_induction_head(model, settings.seed)
    return model


def build_optimizers(model: Any, precision: str) -> list[torch.optim.Optimizer]:
    """Muon, computing in `precision`, for the matrices inside the layers; AdamW for embeddings, head and norms."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "layers" in name]
    others = [p for name, p in model.named_parameters() if not (p.ndim == 2 and "layers" in name)]
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    muon = Muon([{"params": matrices, "peak": LR}], lr=LR, dtype=dtype)
    adam = torch.optim.AdamW(
        [{"params": others, "peak": EMBEDDING_LR}],
        lr=EMBEDDING_LR,
        betas=(0.9, 0.95),
        weight_decay=0.0,
    )
    return [muon, adam]


def training_steps(settings: WarmStartSettings, tokenizer: Any) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Endless training steps, each a list of micro-batches of ids and labels, both [B, T]."""
    rng = random.Random(settings.seed)
    rows = (encode(tokenizer, talk) for talk in conversations(settings.seed, BROKEN_SHARE))
    fitting = (row for row in rows if len(row.ids) <= settings.context)
    step: list[tuple[Tensor, Tensor]] = []
    while True:
        pool = sorted(islice(fitting, POOL), key=lambda row: len(row.ids))
        batches = list(_micro_batches(pool, max(MICRO_TOKENS, settings.context), tokenizer.pad_token_id))
        rng.shuffle(batches)
        for batch in batches:
            step.append(batch)
            if sum(ids.numel() for ids, _ in step) >= BATCH_TOKENS - MICRO_TOKENS // 2:
                yield step
                step = []


def encode(tokenizer: Any, talk: Conversation) -> CorpusRow:
    """Tokenizes a conversation: the chat template's prompt, the target, the end token."""
    messages = [{"role": message.role, "content": message.content} for message in talk.messages]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    target = tokenizer(talk.target, add_special_tokens=False)["input_ids"]
    return CorpusRow(ids=[*prompt, *target, tokenizer.eos_token_id], prompt=len(prompt))


def _micro_batches(pool: list[CorpusRow], tokens: int, pad: int) -> Iterator[tuple[Tensor, Tensor]]:
    for width, group in groupby(pool, key=lambda row: -(-(len(row.ids) - 1) // WIDTH) * WIDTH):
        rows = list(group)
        most = max(1, tokens // width)
        for start in range(0, len(rows), most):
            yield _pad(rows[start : start + most], width, pad)


def _pad(rows: list[CorpusRow], length: int, pad: int) -> tuple[Tensor, Tensor]:
    # Rows are padded on the right and attention is causal, so no mask is needed.
    ids_BT = torch.full((len(rows), length), pad)
    labels_BT = torch.full((len(rows), length), -1)
    for b, row in enumerate(rows):
        ids_BT[b, : len(row.ids) - 1] = torch.tensor(row.ids[:-1])
        labels_BT[b, row.prompt - 1 : len(row.ids) - 1] = torch.tensor(row.ids[row.prompt :])
    return ids_BT, labels_BT


def _texts(settings: WarmStartSettings) -> Iterator[str]:
    for talk in islice(conversations(settings.seed, 0.0), VOCABULARY_SAMPLES):
        yield from (message.content for message in talk.messages if message.role == "user")
        yield talk.target
