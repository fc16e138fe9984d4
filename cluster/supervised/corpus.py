"""The corpus of supervised fine-tuning: judged pages become examples, examples become token ids."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from cluster.preflight.separate_process import run_module
from cluster.settings import RunSettings
from cluster.supervised.judged_pages import JudgedTask
from learner.supervised.damage import KINDS
from learner.supervised.examples import (
    FORMS,
    Example,
    first_example,
    readable_reference,
    review_example,
    revision_example,
)
from rollout.errors import ModelError, TaskFileError
from rollout.files import atomic_write
from rollout.parsing import parse_page
from rollout.records import Demonstration, Task


@dataclass(kw_only=True)
class CorpusCounts:
    """Numbers of pages and examples of a corpus, and of the dropped ones by reason."""

    tasks: int = 0
    unreadable: int = 0
    """Tasks without examples: an answer cannot contain their reference page."""
    damaged: Counter[str] = field(default_factory=Counter)
    """Judged pages by damage."""
    kept: Counter[str] = field(default_factory=Counter)
    """Pages that give examples, by damage."""
    not_worse: int = 0
    """Judged pages dropped because the critic does not score them below the reference."""
    without_feedback: int = 0
    unrepairable: int = 0
    """Judged pages dropped because the reference cannot be read back from the revision's answer."""
    lost: int = 0
    """Damaged pages without a judgment because of machine faults."""
    too_long: int = 0
    """Examples longer than the model's context or the token budget."""
    examples: Counter[str] = field(default_factory=Counter)
    """Examples that fit, by form, held-out ones included."""

    def as_json(self) -> dict[str, Any]:
        """The counts as a JSON object; `damages` has the kept and the judged pages of each kind."""
        damages = {
            kind: {"judged": self.damaged[kind], "kept": self.kept[kind]} for kind in KINDS if self.damaged[kind]
        }
        names = ("tasks", "unreadable", "not_worse", "without_feedback", "unrepairable", "lost", "too_long")
        counted = {name: getattr(self, name) for name in names}
        return counted | {"damages": damages, "examples": {form: self.examples[form] for form in FORMS}}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedExample:
    """A tokenized example."""

    form: str
    held_out: bool
    demonstration: Demonstration

    @property
    def length(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.demonstration.prompt_ids) + len(self.demonstration.token_ids)


def make_examples(
    tasks: Sequence[Task], judged: Sequence[JudgedTask], settings: RunSettings, counts: CorpusCounts
) -> list[Example]:
    """Examples of all tasks in order: one first page a task, a revision and a review for each page that is kept."""
    found: list[Example] = []
    for task, result in zip(tasks, judged, strict=True):
        counts.tasks += 1
        counts.lost += result.lost
        counts.damaged.update(page.damage for page in result.pages)
        reference = readable_reference(task)
        if reference is None:
            counts.unreadable += 1
            continue
        found.append(first_example(task, reference))
        for page in result.pages:
            if not page.is_worse(settings.episode.margin):
                counts.not_worse += 1
                continue
            if not page.feedback:
                counts.without_feedback += 1
                continue
            shown = parse_page(page.answer)
            form = settings.episode.revision
            revision = revision_example(task, reference, shown, page.feedback, form, page.damage)
            if revision is None:
                counts.unrepairable += 1
                continue
            counts.kept[page.damage] += 1
            found += [revision, review_example(task, shown, page.feedback, page.damage)]
    return found


def write_examples(path: Path, examples: Sequence[Example], held_out: frozenset[str]) -> None:
    """Writes examples atomically as Parquet; `held_out` are ids of tasks. Raises StorageFault."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct({"role": pa.string(), "content": pa.string()})
    text = {name: pa.string() for name in ("form", "task", "damage", "target")}
    schema = pa.schema({**text, "held_out": pa.bool_(), "messages": pa.list_(message)})
    rows = [
        {
            "form": example.form,
            "task": example.task,
            "damage": example.damage,
            "target": example.target,
            "held_out": example.task in held_out,
            "messages": [{"role": one.role, "content": one.content} for one in example.messages],
        }
        for example in examples
    ]
    sink = BytesIO()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    atomic_write(path, sink.getvalue())


def describe(counts: Mapping[str, Any]) -> str:
    """Describes the JSON of `CorpusCounts` in one line.

    Example: `46 tasks, 120 of 180 damaged pages kept (60 not worse); examples: 46 first, 120 revise, 120 review`.
    """
    damages = counts["damages"].values()
    kept, judged = (sum(one[name] for one in damages) for name in ("kept", "judged"))
    dropped = ("unreadable", "not_worse", "without_feedback", "unrepairable", "lost")
    said = ", ".join(f"{counts[name]} {name.replace('_', ' ')}" for name in dropped if counts[name])
    forms = ", ".join(f"{num} {form}" for form, num in counts["examples"].items())
    too_long = f"; {counts['too_long']} examples are too long" if counts["too_long"] else ""
    pages = f"{kept} of {judged} damaged pages kept{f' ({said})' if said else ''}"
    return f"{counts['tasks']} tasks, {pages}; examples: {forms}{too_long}"


async def encode(model: Path, examples: Path, out: Path, arguments: Mapping[str, Any]) -> None:
    """Tokenizes the examples of a file in a separate process. Raises ModelError."""
    asked = [str(model), str(examples), str(out), "--template", json.dumps(arguments)]
    code, said, complaints = await run_module("learner.supervised.encoding", *asked)
    if code:
        lines = (said if code == 2 else complaints).strip().splitlines()
        raise ModelError(f"{model}: its tokenizer cannot encode the examples: {(lines or ['no output'])[-1][:300]}")


def read_encoded(examples: Path, encoded: Path, longest: int, counts: CorpusCounts) -> list[EncodedExample]:
    """Tokenized examples of at most `longest` tokens, in the order of the file.

    Raises TaskFileError if no training example or no held-out example is left.
    """
    import pyarrow.parquet as pq

    about = pq.read_table(examples, columns=["form", "held_out"]).to_pylist()
    ids = pq.read_table(encoded).to_pylist()
    found = [
        EncodedExample(
            form=row["form"],
            held_out=row["held_out"],
            demonstration=Demonstration(prompt_ids=tuple(one["prompt_ids"]), token_ids=tuple(one["token_ids"])),
        )
        for row, one in zip(about, ids, strict=True)
    ]
    fitting = [example for example in found if example.length <= longest]
    counts.too_long = len(found) - len(fitting)
    counts.examples = Counter(example.form for example in fitting)
    for held_out in (False, True):
        if not any(example.held_out == held_out for example in fitting):
            which = "held-out" if held_out else "training"
            shortest = min((example.length for example in found if example.held_out == held_out), default=0)
            raise TaskFileError(
                f"no {which} example has at most {longest} tokens, the shortest one has {shortest}; "
                "raise learner.token_budget or policy.max_model_len, take a model with a longer context, or tasks with "
                "shorter pages"
            )
    return fitting
