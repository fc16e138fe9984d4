"""Length checks before a run: prompts, pages, the model's context and the learner's token budget."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.settings import RunSettings
from rollout import prompts
from rollout.errors import SettingsError, TaskFileError
from rollout.records import Message, Task
from rollout.rows.fields import show

CONTEXT_NAMES = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length")
"""Keys of a model's context length in its configuration."""
TEMPLATE_TOKENS = 256
"""Upper bound of the tokens added by a chat template."""
FEEDBACK_TOKENS = 512
"""Tokens reserved for the critic's feedback: five sentences and their markup."""
MOST_BUILTIN = 1000
"""Built-in training tasks to measure; their briefs have similar lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A task's first prompt, with its length in tokens or an upper bound of it."""

    task: Task
    tokens: int


def context_of(settings: RunSettings, model: Path | None) -> int | None:
    """Maximum tokens of prompt and completion together; None when neither settings nor model set a limit."""
    own = model_context(model) if model is not None and settings.model != "builtin" else None
    if settings.model == "builtin" and settings.policy.max_model_len is None:
        own = own or settings.warm_start.context
    if settings.policy.max_model_len is None:
        return own
    return min(settings.policy.max_model_len, own or settings.policy.max_model_len)


def model_context(model: Path) -> int | None:
    """Context length from a model's configuration; None when it is not given, or positions are scaled."""
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None  # loading the model reports the problem
    if not isinstance(config, dict):
        return None
    text: dict[str, Any] = config | (config.get("text_config") or {})
    scaled = text.get("rope_scaling") or text.get("rope_parameters") or {}
    if isinstance(scaled, dict) and "factor" in scaled:
        return None
    found = [text[name] for name in CONTEXT_NAMES if isinstance(text.get(name), int)]
    return min(found) if found else None


def check_settings_lengths(settings: RunSettings) -> None:
    """Checks context and token budget against pages, without prompts. Raises SettingsError."""
    model = None if settings.model == "builtin" else Path(settings.model)
    context, page = context_of(settings, model), _room(settings)
    if context is not None and context <= page:
        raise SettingsError(_too_short(settings, context, f"a page alone may have {page} (episode.max_tokens)"))
    sample = _pages(settings) * settings.episode.max_tokens
    if context is None or context > settings.learner.token_budget:
        _check_budget(settings, sample if context is None else min(sample, context), "without its brief")


def check_prompts(settings: RunSettings, model: Path, measured: Sequence[Prompt]) -> None:
    """Checks prompts against all limits. Raises TaskFileError if some briefs are too long, SettingsError if all are."""
    context, page = context_of(settings, model), _room(settings)
    longest = max(measured, key=lambda prompt: prompt.tokens)
    if context is not None and longest.tokens + page > context:
        long = [prompt for prompt in measured if prompt.tokens + page > context]
        said = f"the prompt of task {show(longest.task.id)} has {longest.tokens} tokens and a page may have {page}"
        if len(long) == len(measured):
            raise SettingsError(_too_short(settings, context, said))
        raise TaskFileError(
            f"{len(long)} of {len(measured)} briefs are too long: {said} (episode.max_tokens), together more than "
            f"{_context_name(settings)} = {context}; shorten or remove {_ids(long)}, lower episode.max_tokens, or "
            "raise the limit"
        )
    sample = (
        longest.tokens
        + _pages(settings) * settings.episode.max_tokens
        + (FEEDBACK_TOKENS if settings.episode.rounds else 0)
    )
    most = sample if context is None else min(sample, context)
    _check_budget(settings, most, f"with the prompt of task {show(longest.task.id)}, {longest.tokens} tokens")


def measure(settings: RunSettings, model: Path, tasks: Sequence[Task]) -> list[Prompt]:
    """Measures the first prompts of tasks.

    Returns byte counts if these pass all limits (a token has at least one byte), else token counts. Raises
    SettingsError when the model's tokenizer, chat template or layers do not support the settings.
    """
    first = [prompts.first(task) for task in tasks]
    bounds = [
        TEMPLATE_TOKENS + sum(len(message.content.encode("utf-8", "replace")) for message in one) for one in first
    ]
    adapts = settings.learner.lora_rank > 0
    bounded = [Prompt(task=task, tokens=bound) for task, bound in zip(tasks, bounds, strict=True)]
    try:
        check_prompts(settings, model, bounded)
    except (SettingsError, TaskFileError):
        counted = _ask(model, first, settings, adapts=adapts)
        return [Prompt(task=task, tokens=tokens) for task, tokens in zip(tasks, counted, strict=True)]
    if adapts:
        _ask(model, [], settings, adapts=True)
    return bounded


def _ask(
    model: Path, conversations: Sequence[tuple[Message, ...]], settings: RunSettings, *, adapts: bool
) -> list[int]:
    """Runs `learner.prompt_lengths` in a separate process: this one loads neither torch nor a tokenizer."""
    asked = {
        "model": str(model),
        "prompts": [[[message.role, message.content] for message in one] for one in conversations],
        "template": settings.policy.template_arguments,
        "learner": settings.learner.model_dump(mode="json") if adapts else None,
    }
    command, root = [sys.executable, "-m", "learner.prompt_lengths"], Path(__file__).parents[2]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, cwd=root, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise SettingsError(f"model {model}: its tokenizer cannot be loaded ({last}); give a complete model directory")
    found = json.loads(done.stdout.splitlines()[-1])
    if found["fault"]:
        fault = str(found["fault"])
        raise SettingsError(f"learner.{fault}" if fault.startswith("lora_") else f"model {model}: {fault}")
    return list(found["tokens"])


def _room(settings: RunSettings) -> int:
    """Tokens that a prompt must leave for a page. 1 for the built-in policy without `max_model_len`: its context is
    short and may truncate pages, and the default `episode.max_tokens` is meant for larger models.
    """
    chosen = settings.model != "builtin" or settings.policy.max_model_len is not None
    return settings.episode.max_tokens if chosen else 1


def _pages(settings: RunSettings) -> int:
    """Full answers in one sample: a revision contains the previous page and the new one. Each round of edits may add an
    answer's tokens to the page.
    """
    rounds = settings.episode.rounds
    if settings.episode.revision == "edits":
        return 1 + rounds
    return 2 if rounds else 1


def _check_budget(settings: RunSettings, sample: int, why: str) -> None:
    budget = settings.learner.token_budget
    if sample > budget:
        shown = "the revised page, the feedback and the new page" if settings.episode.rounds else "one page"
        if settings.episode.rounds and settings.episode.revision == "edits":
            shown = "a page that every earlier round made longer, the feedback and the edits"
        raise SettingsError(
            f"learner.token_budget is {budget}, but a sample may have {sample} tokens {why}: {shown}, with pages of up "
            f"to episode.max_tokens = {settings.episode.max_tokens}; raise the budget to at least {sample}, or lower "
            "episode.max_tokens or policy.max_model_len"
        )


def _too_short(settings: RunSettings, context: int, why: str) -> str:
    name = _context_name(settings)
    return f"{name} is {context} tokens, but {why}; raise it, or lower episode.max_tokens"


def _context_name(settings: RunSettings) -> str:
    return "the model's context" if settings.policy.max_model_len is None else "policy.max_model_len"


def _ids(long: Sequence[Prompt]) -> str:
    named = ", ".join(show(prompt.task.id) for prompt in long[:3])
    return f"{named} and {len(long) - 3} more" if len(long) > 3 else named
