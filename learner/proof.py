"""Proves that the learner computes what a model does: `python -m learner.proof MODEL --learner JSON --longest N`.

transformers scores a few sequences one by one, with its own attention, in evaluation mode and float32 on the CPU. The
learner scores the same sequences in the mode of its updates: alone, packed with others of very different lengths,
siblings among them, and twice; its gradient is compared too. Where packing is not exact, the learner reads one sample a
row with the model's own attention; where that is not exact either, the model is refused.

A large model is proven by its first layers. Prints the proof as JSON, or `{"refused": …}` with exit code 2.
"""

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from learner.chat import Chat
from learner.losses.logprobs import likelihood
from learner.model import logits_of, read_model, read_tokenizer
from learner.model_directory import length_of_rotary_change, read_config, read_whole, shortened
from learner.packing import PrefixGroup, TokenSequence, alone, families, pack_tensors
from learner.settings import LearnerSettings
from rollout.errors import ModelError

BOUND = 2e-4
"""Largest difference of a log-prob, in nats, and of the gradient, as a share of its norm. Both are near 1e-5 where the
learner is exact, and above 0.1 where it leaves something out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """How far the learner is from transformers."""

    nats: float
    """Largest difference of a log-prob."""
    gradient: float
    """Difference of the gradient, as a share of its norm."""

    @property
    def exact(self) -> bool:
        """Whether both are within the bound; NaN is not."""
        return self.nats <= BOUND and self.gradient <= BOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How the learner reads a model's samples, and how exact that is."""

    model_type: str
    packed: bool
    """Whether samples are packed; else one is read a row, with the model's own attention."""
    gap: float
    """Largest difference of a log-prob from transformers', in nats."""
    gradient: float
    """Difference of the gradient from transformers', as a share of its norm."""
    packed_gap: float
    """The difference of log-probs that packed samples have, in nats."""


def prove(model_dir: Path, settings: LearnerSettings, longest: int, arguments: dict[str, Any]) -> Proof:
    """The proof of a model directory. Raises ModelError.

    `longest` is the number of tokens that a sample may have, `arguments` are those of the chat template.
    """
    config = read_config(model_dir)
    tokenizer = read_tokenizer(model_dir)
    Chat(tokenizer, arguments)
    small = shortened(config, longest)
    text = small.get_text_config()
    if not length_of_rotary_change(text):  # Else a model may read more tokens than it names.
        longest = min(longest, getattr(text, "max_position_embeddings", longest))
    pieces = sequences(min(text.vocab_size, len(tokenizer)), longest)
    wanted = reference(model_dir, small, pieces)
    try:
        packed = compare(model_dir, settings, small, pieces, wanted, packed=True)
    except (TypeError, ValueError):  # The model takes no attention but its own.
        packed = Gap(nats=math.inf, gradient=math.inf)
    found = packed if packed.exact else compare(model_dir, settings, small, pieces, wanted, packed=False)
    if not found.exact:
        raise ModelError(
            f"{model_dir}: the learner does not compute what this {config.model_type} model does: with one sample a "
            f"row its log-probs are {found.nats:.2g} nats and its gradient {found.gradient:.2%} from transformers' "
            f"own, wanted at most {BOUND:g}; {_advice(config.get_text_config(), settings)}"
        )
    return Proof(
        model_type=config.model_type,
        packed=packed.exact,
        gap=found.nats,
        gradient=found.gradient,
        packed_gap=packed.nats,
    )


def sequences(vocabulary: int, longest: int) -> list[TokenSequence]:
    """Three siblings, a long sequence and a short one, of random tokens and at most `longest` of them."""
    draw = random.Random(0)

    def ids(num: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(num))

    def piece(prompt_ids: tuple[int, ...], num: int) -> TokenSequence:
        return TokenSequence(prompt_ids=prompt_ids, token_ids=ids(min(num, longest - len(prompt_ids))))

    trunk = ids(min(24, longest // 2))
    siblings = [piece(trunk, num) for num in (40, 9, 200)]
    return [*siblings, piece(ids(min(20, longest // 2)), 290), piece(ids(min(10, longest // 2)), 17)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What transformers computes."""

    logprobs_T: Tensor
    gradients: dict[str, Tensor]
    """Of the sum of all log-probs, by the names of the parameters."""


def reference(model_dir: Path, config: Any, pieces: Sequence[TokenSequence]) -> Expected:
    """transformers' own log-probs and gradients, one sequence at a time. Raises ModelError for missing weights."""
    model = read_whole(model_dir, config)
    scores = []
    for piece in pieces:
        with torch.no_grad():
            # A short sequence in between puts back rotary factors that a longer one has changed.
            model(input_ids=torch.tensor([piece.prompt_ids[:2]]), use_cache=False)
        ids = torch.tensor([[*piece.prompt_ids, *piece.token_ids]])
        logits_LV = model(input_ids=ids, use_cache=False).logits[0].float()
        first = len(piece.prompt_ids) - 1
        logprobs_TV = logits_LV[first:-1].log_softmax(-1)
        score_T = logprobs_TV.gather(-1, ids[0, first + 1 :, None])[:, 0]
        score_T.sum().backward()
        scores.append(score_T.detach())
    return Expected(logprobs_T=torch.cat(scores), gradients=_gradients(model))


def compare(
    model_dir: Path,
    settings: LearnerSettings,
    config: Any,
    pieces: Sequence[TokenSequence],
    wanted: Expected,
    *,
    packed: bool,
) -> Gap:
    """How far the learner is from transformers when it reads the pieces alone, together and once more."""
    exact = settings.model_copy(update={"dtype": "float32", "autocast": False})
    model = read_model(model_dir, exact, "cpu", packed=packed, config=config)
    rows = [families(pieces, sum(piece.length for piece in pieces))] if packed else [[one] for one in alone(pieces)]
    with torch.no_grad():
        passes = [torch.cat([score(model, [one]) for one in alone(pieces)])]
        passes += [torch.cat([score(model, row) for row in rows])]
    learnt = []
    for row in rows:
        score_T = score(model, row)
        score_T.sum().backward()  # type: ignore[no-untyped-call]
        learnt.append(score_T.detach())
    nats = max((one - wanted.logprobs_T).abs().max().item() for one in [*passes, torch.cat(learnt)])
    return Gap(nats=nats, gradient=_apart(_gradients(model), wanted.gradients))


def score(model: Any, row: Sequence[PrefixGroup]) -> Tensor:
    """[T] log-probs of a row's tokens, as updates compute them."""
    laid = pack_tensors(row, "cpu")
    return likelihood(logits_of(model, laid), laid.targets_T, torch.ones(len(laid.targets_T)))[0]


def _gradients(model: Any) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def _apart(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """‖found − wanted‖ / ‖wanted‖; a gradient that only one side has counts whole."""
    zero = torch.zeros(())
    off = sum(float((found.get(name, zero) - wanted.get(name, zero)).norm() ** 2) for name in found | wanted)
    return float((off / max(1e-30, sum(float(each.norm() ** 2) for each in wanted.values()))) ** 0.5)


def _advice(text: Any, settings: LearnerSettings) -> str:
    """What a person can do about a model that is refused."""
    if change := length_of_rotary_change(text):
        return f"its rotary factors depend on the length beyond {change} tokens: set policy.max_model_len = {change}"
    if settings.recompute:
        return "set learner.recompute = false, or take another model"
    return "take another model"


def main(argv: list[str] | None = None) -> int:
    """The command. Returns its exit code."""
    parser = argparse.ArgumentParser(description="Proves that the learner computes what a model does.")
    parser.add_argument("model", type=Path, help="a Hugging Face model directory")
    parser.add_argument("--learner", default="{}", help="LearnerSettings as JSON")
    parser.add_argument("--longest", type=int, default=4096, help="tokens that a sample may have")
    parser.add_argument("--template", default="{}", help="arguments of the chat template as JSON")
    options = parser.parse_args(argv)
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    settings = LearnerSettings.model_validate_json(options.learner)
    torch.set_num_threads(settings.threads)
    try:
        proof = prove(options.model, settings, options.longest, json.loads(options.template))
    except ModelError as error:
        print(json.dumps({"refused": str(error)}))
        return 2
    print(json.dumps(asdict(proof)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
