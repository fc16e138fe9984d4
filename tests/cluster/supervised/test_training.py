"""Test of the training on the real engine: losses fall in each form, resume is exact, the exported model generates."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from doubles import task
from tiny_batches import address
from tiny_model import tiny_model

from cluster.settings import RunSettings, check_settings
from cluster.storage.store import Store
from cluster.supervised.corpus import (
    CorpusCounts,
    EncodedExample,
    make_examples,
    read_encoded,
    write_examples,
)
from cluster.supervised.judged_pages import JudgedPage, JudgedTask
from cluster.supervised.summary import summarise
from cluster.supervised.training import Training
from learner.supervised.damage import damaged_pages
from learner.supervised.encoding import encode_file
from learner.supervised.examples import FORMS
from rollout.errors import LearnerFault
from rollout.records import Batch, Demonstration, Update

pytestmark = [
    pytest.mark.engine,
    # Warnings of DeepSpeed and torch.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
STEPS = 12
TASKS = [
    task(f"card-{name}", reference_html=f"<h1>{name}</h1>\n<p>A card of {name}</p>\n<button>Buy {name}</button>")
    for name in ("apples", "pears", "plums", "figs")
]


def settings(folder: Path, **learner: Any) -> RunSettings:
    return check_settings(
        {
            "episode": {"max_tokens": 64, "revision": "edits"},
            "learner": {"token_budget": 4096, "autocast": False, "threads": 1, **learner},
            "sft": {"lr": 3e-3, "batch": 4, "epochs": 99, "steps": STEPS, "evaluate_every": 6},
            "checkpoint": {"every": 4, "keep": 1},
            "runs": str(folder),
        },
        "test",
    )


class LocalEngine:
    """The learner's engine in this process. Raises LearnerFault at the update `fails`."""

    def __init__(self, model: Path, own: RunSettings, meeting: str, fails: int = 0) -> None:
        import torch

        from learner.engine import Engine

        torch.set_num_threads(1)
        self.engine = Engine(model, own.sft.of_learner(own.learner, STEPS), init_method=meeting)
        self.fails = fails

    async def update(self, batch: Batch) -> Update:
        if self.engine.version + 1 == self.fails:
            raise LearnerFault("the machine is gone")
        return self.engine.update(batch)

    async def losses(self, demonstrations: Sequence[Demonstration]) -> tuple[float, ...]:
        return self.engine.losses(demonstrations)

    async def save(self, path: Path) -> None:
        self.engine.save(path)

    async def load(self, path: Path) -> None:
        self.engine.load(path)

    async def peak_memory(self) -> int:
        return 1 << 30


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[EncodedExample]]:
    """The tiny model, and examples of TASKS, of which the last is held out."""
    folder = tmp_path_factory.mktemp("corpus")
    tiny_model(folder / "model")
    results = [
        JudgedTask(
            pages=tuple(
                JudgedPage(
                    task=one.id,
                    damage=page.damage,
                    answer=page.answer,
                    outcome="ok",
                    reward=0.2,
                    reference=1.0,
                    feedback=("The button is missing.",),
                )
                for page in damaged_pages(one.reference_html or "", 2, seed=0)
            )
        )
        for one in TASKS
    ]
    counts = CorpusCounts()
    write_examples(
        folder / "examples", make_examples(TASKS, results, settings(folder), counts), frozenset({TASKS[-1].id})
    )
    encode_file(folder / "model", folder / "examples", folder / "encoded", {})
    return folder / "model", read_encoded(folder / "examples", folder / "encoded", 4096, counts)


def start(folder: Path, own: RunSettings, examples: Sequence[EncodedExample]) -> Training:
    return Training(settings=own, store=Store(folder), examples=examples, show=lambda *_: None)


async def test_losses_fall_in_each_form_and_a_resumed_run_has_the_same_weights(
    tmp_path: Path, corpus: tuple[Path, list[EncodedExample]]
) -> None:
    model, examples = corpus
    own, meeting = settings(tmp_path), address()
    whole, straight = LocalEngine(model, own, meeting), start(tmp_path / "straight", own, examples)
    await straight.run(whole)
    first, last = straight.history[0], straight.history[-1]
    for form in FORMS:
        assert last[f"held_out_{form}"] < first[f"held_out_{form}"] - 0.5
    assert [row["step"] for row in straight.history if "held_out_loss" in row] == [0, 6, 12]

    broken = start(tmp_path / "broken", own, examples)
    with pytest.raises(LearnerFault):
        await broken.run(LocalEngine(model, own, meeting, fails=7))
    assert broken.store.saved_steps() == [4]
    again, resumed = LocalEngine(model, own, meeting), start(tmp_path / "broken", own, examples)
    await resumed.run(again)
    assert again.engine.weights() == whole.engine.weights()
    assert [row["step"] for row in resumed.history] == list(range(STEPS + 1))
    assert resumed.history[-1]["loss"] == last["loss"]

    summary = summarise(
        run_id="x",
        status="finished",
        model="tiny",
        history=straight.history,
        seconds={},
        corpus={},
        held_out_tasks=1,
        samples={},
    )
    assert summary["steps"] == STEPS
    assert summary["held_out"]["after"]["revise"] < summary["held_out"]["before"]["revise"]
    assert summary["throughput"]["peak_memory_gib"] == 1.0


@pytest.mark.parametrize("rank", [0, 4])
async def test_the_exported_directory_generates_and_has_the_learnt_losses(
    tmp_path: Path, corpus: tuple[Path, list[EncodedExample]], rank: int
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, examples = corpus
    own = settings(tmp_path, lora_rank=rank)
    learner = LocalEngine(model, own, address())
    few = own.model_copy(update={"sft": own.sft.model_copy(update={"steps": 3})})
    await start(tmp_path / "run", few, examples).run(learner)
    learner.engine.export(tmp_path / "champion")
    written = AutoModelForCausalLM.from_pretrained(tmp_path / "champion").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "champion")
    one = examples[-1].demonstration
    ids = torch.tensor([one.prompt_ids + one.token_ids])
    with torch.no_grad():
        logprobs = written(ids).logits[0, :-1].log_softmax(-1)
    wanted = -sum(logprobs[at - 1, ids[0, at]].item() for at in range(len(one.prompt_ids), ids.shape[1]))
    assert learner.engine.losses([one, examples[0].demonstration])[0] == pytest.approx(wanted, rel=1e-4)
    shown = written.generate(ids[:, : len(one.prompt_ids)], max_new_tokens=8, do_sample=False)
    assert tokenizer.decode(shown[0, len(one.prompt_ids) :])
