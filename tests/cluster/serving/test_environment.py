"""Tests of the examples of docs/environment.md: the rewards of TRL and verl against a server with a real browser."""

import importlib.util
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from doubles import PaperRenderer
from served_app import served_in_thread
from tiny_model import tiny_model
from writing_policy import WritingPolicy

from actors.browser.renderer import ChromiumRenderer
from actors.critic.critic import VisualCriticActor
from actors.settings import BrowserSettings
from cluster.serving.service import Service
from reward.settings import ScoreSettings
from rollout.settings import EpisodeSettings

EXAMPLES = Path(__file__).parents[3] / "docs" / "environment"
DESIGN = "<!doctype html><h1 style='color:#246'>Bakery</h1><p>Open daily from eight to six.</p>"
THROWS = "<!doctype html><h1>Bakery</h1><script>missing()</script>"


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def answer(html: str) -> str:
    return f"A plan.\n```html\n{html}\n```"


def service(renderer: Any) -> Service:
    return Service(
        name="tiny",
        policy=WritingPolicy(),
        renderer=renderer,
        critic=VisualCriticActor(),
        episode=EpisodeSettings(),
        scoring=ScoreSettings(),
        needs_reference=True,
    )


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    @asynccontextmanager
    async def make() -> AsyncIterator[Service]:
        renderer = ChromiumRenderer(BrowserSettings(), cache=tmp_path / "renders")
        await renderer.start()
        yield service(renderer)
        await renderer.stop()

    with served_in_thread(make) as url:
        monkeypatch.setenv("RELOOK_SERVER", url)
        yield url


@pytest.mark.browser
def test_rewards_rank_pages_by_their_renders(server: str) -> None:
    trl, verl = example("trl_rewards"), example("verl_reward")
    pages = [answer(DESIGN), answer("<h1>Garage</h1>"), answer(THROWS), "no page"]
    chats = [[{"role": "assistant", "content": page}] for page in pages]
    columns = {"brief": ["a bakery"] * 4, "reference_html": [DESIGN] * 4}
    assert trl.valid_reward(chats, **columns) == [1.0, 1.0, 0.0, 0.0]
    same, other, *invalid = trl.judge_reward(chats, **columns)
    assert same > 0.95 > other > 0.0
    assert invalid == [0.0, 0.0]
    scores = [verl.compute_score("pages", page, DESIGN, {"brief": "a bakery"}) for page in pages]
    assert [row["score"] for row in scores] == [same, other, *invalid]
    assert [row["valid"] for row in scores] == [1.0, 1.0, 0.0, 0.0]


@pytest.mark.parametrize("name", ["trl_rewards", "verl_reward"])
def test_a_fault_of_the_server_is_no_reward(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def make() -> AsyncIterator[Service]:
        yield service(PaperRenderer(faults=100))

    module = example(name)
    ask = {
        "trl_rewards": lambda: module.valid_reward([answer(DESIGN)]),
        "verl_reward": lambda: module.compute_score("", answer(DESIGN), DESIGN, {"brief": "b"}),
    }
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    with served_in_thread(make) as url:
        monkeypatch.setenv("RELOOK_SERVER", url)
        with pytest.raises(RuntimeError, match="503 the server cannot answer now: BrowserFault"):
            ask[name]()


@pytest.mark.engine
@pytest.mark.browser
@pytest.mark.filterwarnings("ignore")  # TRL and its dependencies warn about versions and devices
def test_the_trainer_of_trl_takes_the_rewards(server: str, tmp_path: Path) -> None:
    datasets, trl = pytest.importorskip("datasets"), pytest.importorskip("trl")
    from transformers import AutoTokenizer

    tiny_model(tmp_path / "model")
    rewards = example("trl_rewards")
    seen: list[list[float]] = []

    def valid(completions: list[str], **columns: Any) -> list[float]:
        """The tiny model writes random letters: they are the text of a page."""
        seen.append(rewards.valid_reward([answer(f"<h1>{text}</h1>") for text in completions], **columns))
        return seen[-1]

    def judged(completions: list[str], **columns: Any) -> list[float]:
        pages = [answer(f"<h1>Bakery {text}</h1>") for text in completions]
        seen.append(rewards.judge_reward(pages, **columns))
        return seen[-1]

    rows = [{"prompt": f"page {n}", "brief": "a bakery", "reference_html": DESIGN} for n in range(4)]
    arguments = trl.GRPOConfig(
        output_dir=str(tmp_path / "run"),
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=4,
        num_generations=2,
        max_completion_length=12,
        gradient_checkpointing=False,
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    trainer = trl.GRPOTrainer(
        model=str(tmp_path / "model"),
        reward_funcs=[valid, judged],
        args=arguments,
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(tmp_path / "model"),
    )
    trainer.train()
    assert trainer.state.global_step == 2
    assert len(seen) == 4
    assert all(len(row) == 4 and all(0 <= one <= 1 for one in row) for row in seen)
    assert any(any(row) for row in seen)
    logged = [row for row in trainer.state.log_history if "rewards/judged/mean" in row]
    assert len(logged) == 2
