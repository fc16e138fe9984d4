"""Compares the learner with transformers: `python -m learner.proof MODEL --learner JSON --longest N`.

transformers scores a few sequences one at a time, with its own attention, in evaluation mode and float32 on the CPU.
The learner scores them in update mode: alone, packed with siblings and sequences of very different lengths, and a
second time; gradients are compared too. If packing is not exact, the learner reads one sample per row with the model's
own attention; if that is not exact either, the model is refused.

Large models are checked with their first layers only. Prints the proof as JSON, or `{"refused": …}` with exit code 2.
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
from learner.packing import PrefixGroup, TokenSequence, group_by_prompt, pack_tensors, ungrouped
from learner.settings import LearnerSettings
from rollout.errors import ModelError

BOUND = 2e-4
"""Tolerance: largest log-prob difference in nats, and relative gradient error. Both are near 1e-5 for an exact learner
and above 0.1 if the learner omits a part of the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Difference between the learner and transformers."""

    nats: float
    """Largest log-prob difference."""
    gradient: float
    """Relative gradient error: norm of the difference over the norm of transformers' gradient."""

    @property
    def exact(self) -> bool:
        """Whether both values are within `BOUND`; False for NaN."""
        return self.nats <= BOUND and self.gradient <= BOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """Result for one model: whether its samples can be packed, and the measured differences."""

    model_type: str
    packed: bool
    """Whether samples are packed; otherwise each row holds one sample and the model uses its own attention."""
    gap: float
    """Largest log-prob difference from transformers, in nats."""
    gradient: float
    """Relative gradient error."""
    packed_gap: float
    """Largest log-prob difference of packed samples, in nats."""


def prove(model_dir: Path, settings: LearnerSettings, longest: int, arguments: dict[str, Any]) -> Proof:
    """Compares the learner with transformers on a model directory. Raises ModelError when the model is refused.

    `longest`: maximum tokens of a sample. `arguments`: arguments of the chat template.
    """
    config = read_config(model_dir)
    tokenizer = read_tokenizer(model_dir)
    Chat(tokenizer, arguments)
    small = shortened(config, longest)
    text = small.get_text_config()
    if not length_of_rotary_change(text):  # Else more tokens are allowed.
        longest = min(longest, getattr(text, "max_position_embeddings", longest))
    sequences = proof_sequences(min(text.vocab_size, len(tokenizer)), longest)
    wanted = reference(model_dir, small, sequences)
    try:
        packed = compare(model_dir, settings, small, sequences, wanted, packed=True)
    except (TypeError, ValueError):  # The model supports no attention but its own.
        packed = Gap(nats=math.inf, gradient=math.inf)
    found = packed if packed.exact else compare(model_dir, settings, small, sequences, wanted, packed=False)
    if not found.exact:
        raise ModelError(
            f"{model_dir}: the learner and transformers differ on this {config.model_type} model: with one sample per "
            f"row, log-probs by {found.nats:.2g} nats and the gradient by {found.gradient:.2%}, wanted at most "
            f"{BOUND:g}; {_advice(config.get_text_config(), settings)}"
        )
    return Proof(
        model_type=config.model_type,
        packed=packed.exact,
        gap=found.nats,
        gradient=found.gradient,
        packed_gap=packed.nats,
    )


def proof_sequences(vocabulary: int, longest: int) -> list[TokenSequence]:
    """Test sequences of random tokens, at most `longest` long: three siblings, a long one and a short one."""
    draw = random.Random(0)

    def ids(num: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(num))

    def sequence(prompt_ids: tuple[int, ...], num: int) -> TokenSequence:
        return TokenSequence(prompt_ids=prompt_ids, token_ids=ids(min(num, longest - len(prompt_ids))))

    trunk = ids(min(24, longest // 2))
    siblings = [sequence(trunk, num) for num in (40, 9, 200)]
    return [*siblings, sequence(ids(min(20, longest // 2)), 290), sequence(ids(min(10, longest // 2)), 17)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Log-probs and gradients computed by transformers."""

    logprobs_T: Tensor
    gradients: dict[str, Tensor]
    """Gradients of the sum of all log-probs, by parameter name."""


def reference(model_dir: Path, config: Any, sequences: Sequence[TokenSequence]) -> Expected:
    """Scores one sequence at a time with plain transformers. Raises ModelError when weights are missing."""
    model = read_whole(model_dir, config)
    scores = []
    for sequence in sequences:
        with torch.no_grad():
            # A short sequence in between resets rotary factors that a longer one has changed.
            model(input_ids=torch.tensor([sequence.prompt_ids[:2]]), use_cache=False)
        ids = torch.tensor([[*sequence.prompt_ids, *sequence.token_ids]])
        logits_LV = model(input_ids=ids, use_cache=False).logits[0].float()
        first = len(sequence.prompt_ids) - 1
        logprobs_TV = logits_LV[first:-1].log_softmax(-1)
        score_T = logprobs_TV.gather(-1, ids[0, first + 1 :, None])[:, 0]
        score_T.sum().backward()
        scores.append(score_T.detach())
    return Expected(logprobs_T=torch.cat(scores), gradients=_gradients(model))


def compare(
    model_dir: Path,
    settings: LearnerSettings,
    config: Any,
    sequences: Sequence[TokenSequence],
    wanted: Expected,
    *,
    packed: bool,
) -> Gap:
    """Scores the sequences alone, packed, and packed again with gradients; returns the differences from `wanted`."""
    exact = settings.model_copy(update={"dtype": "float32", "autocast": False})
    model = read_model(model_dir, exact, "cpu", packed=packed, config=config)
    rows = (
        [group_by_prompt(sequences, sum(sequence.length for sequence in sequences))]
        if packed
        else [[one] for one in ungrouped(sequences)]
    )
    with torch.no_grad():
        passes = [torch.cat([score(model, [one]) for one in ungrouped(sequences)])]
        passes += [torch.cat([score(model, row) for row in rows])]
    learnt = []
    for row in rows:
        score_T = score(model, row)
        score_T.sum().backward()  # type: ignore[no-untyped-call]
        learnt.append(score_T.detach())
    nats = max((one - wanted.logprobs_T).abs().max().item() for one in [*passes, torch.cat(learnt)])
    return Gap(nats=nats, gradient=_apart(_gradients(model), wanted.gradients))


def score(model: Any, row: Sequence[PrefixGroup]) -> Tensor:
    """[T] log-probs of a row's tokens, computed as in an update."""
    laid = pack_tensors(row, "cpu")
    return likelihood(logits_of(model, laid), laid.targets_T, torch.ones(len(laid.targets_T)))[0]


def _gradients(model: Any) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


def _apart(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """‖found − wanted‖ / ‖wanted‖; a parameter missing on one side counts as zero there."""
    zero = torch.zeros(())
    off = sum(float((found.get(name, zero) - wanted.get(name, zero)).norm() ** 2) for name in found | wanted)
    return float((off / max(1e-30, sum(float(each.norm() ** 2) for each in wanted.values()))) ** 0.5)


def _advice(text: Any, settings: LearnerSettings) -> str:
    """Advice to resolve a refusal: the setting to change, or a different model."""
    if change := length_of_rotary_change(text):
        return f"its rotary factors depend on the length beyond {change} tokens: set policy.max_model_len = {change}"
    if settings.recompute:
        return "set learner.recompute = false, or use another model"
    return "use another model"


def main(argv: list[str] | None = None) -> int:
    """Command-line entry point. Returns the exit code."""
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
