"""Benchmark against TRL: `GRPOTrainer` with a simple Playwright reward, and this loop, alternating on this machine.

Both use the same policy, built-in tasks, group size, lengths, temperature and learning rate; single turn, on-policy.
TRL's reward uses one browser, a fresh context for each page, one screenshot and the embedded critic. This loop takes
three screenshots and runs the tasks' probes. Neither distils feedback, which TRL does not support. TRL samples with
Transformers, its default.
"""

import asyncio
import importlib.util
import json
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

from cluster.experiments.bench.baselines import headless_shell, launch_options
from cluster.experiments.bench.part import Figures
from cluster.experiments.bench.training_loop.streaming import SETTINGS, launched, played
from cluster.preflight.warm_start import warm_start_blocking
from cluster.settings import RunSettings, load_settings
from cluster.training.curriculum import Curriculum
from rollout.prompts import first
from rollout.records import Box, Page, Render, Shot, Task, TextBlock

STEPS = int(os.environ.get("TRL_STEPS", "4"))
"""Measured steps; each side runs one warm-up step before them."""
ROUNDS = int(os.environ.get("TRL_ROUNDS", "1"))
READ = """() => {
  const rgb = text => (text.match(/[0-9.]+/g) || [0, 0, 0]).slice(0, 3).map(Number);
  const fill = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor;
    if (c !== 'rgba(0, 0, 0, 0)' && c !== 'transparent') return rgb(c); } return [255, 255, 255]; };
  const place = b => [b.x + scrollX, b.y + scrollY, b.width, b.height], blocks = [], boxes = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), range = new Range();
  for (let node; node = walker.nextNode();) {
    const parent = node.parentElement, text = node.data.replace(/\\s+/g, ' ').trim();
    if (!text || ['SCRIPT', 'STYLE'].includes(parent.tagName)) continue;
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect(), style = getComputedStyle(parent);
    if (box.width < 1 || box.height < 1 || style.visibility !== 'visible') continue;
    blocks.push([text, ...place(box), rgb(style.color), fill(parent), parseFloat(style.fontSize),
                 parseInt(style.fontWeight), parent.tagName.toLowerCase()]);
  }
  for (const e of document.body.querySelectorAll('*')) {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    const drawn = style.backgroundColor !== 'rgba(0, 0, 0, 0)' || style.borderStyle !== 'none';
    if (drawn && box.width >= 1 && box.height >= 1) boxes.push([e.tagName.toLowerCase(), ...place(box)]);
  }
  const root = document.documentElement;
  return {blocks, boxes, background: fill(document.body), document: [root.scrollWidth, root.scrollHeight]};
}"""
"""JavaScript that extracts texts and boxes for the embedded critic."""


class PlaywrightReward:
    """Reward function for TRL that renders and judges pages sequentially."""

    def __init__(self, tasks: list[Task], settings: RunSettings) -> None:
        from playwright.sync_api import sync_playwright

        from reward.visual.critic import VisualCritic

        self.tasks, self.settings, self.critic = tasks, settings, VisualCritic()
        self.browser = sync_playwright().start().chromium.launch(**_launch())
        self.references: dict[int, tuple[Render, bytes]] = {}
        self.__name__ = "looks"  # TRL requires a name

    def __call__(self, prompts: Any, completions: Any, place: list[int], **_: Any) -> list[float]:
        """One reward for each completion."""
        return [
            self._one(answer[0]["content"], self.tasks[at], at) for answer, at in zip(completions, place, strict=True)
        ]

    def _one(self, text: str, task: Task, at: int) -> float:
        from reward.score import score
        from rollout.parsing import parse_page

        page = parse_page(text)
        if page.html is None:
            return score(page, None, None, task, self.settings.score).total
        if at not in self.references:
            self.references[at] = self._show(task.reference_html or "")
        (render, png), (wanted, other) = self._show(page.html), self.references[at]
        critique = None
        if render.valid:
            critique = self.critic.judge(task, page, render, wanted, (png,), (other,))
        return score(page, render, critique, task, self.settings.score).total

    def _show(self, html: str) -> tuple[Render, bytes]:
        from reward.validity import is_blank

        size = self.settings.browser.viewport_width, self.settings.browser.viewport_height
        context = self.browser.new_context(viewport={"width": size[0], "height": size[1]})
        tab, thrown = context.new_page(), list[str]()
        tab.on("pageerror", lambda error: thrown.append(str(error)))
        tab.set_content(html)
        png, seen = tab.screenshot(), tab.evaluate(READ)
        context.close()
        outcome = "exception" if thrown else "blank" if is_blank(png) else "ok"
        sha = Page(html=html).sha256
        render = Render(
            page_sha256=sha,
            outcome=outcome,  # type: ignore[arg-type]
            shots=(Shot(at_ms=0, sha256=sha, width=size[0], height=size[1]),),
            blocks=tuple(_block(row) for row in seen["blocks"]),
            boxes=tuple(Box(tag=t, x=x, y=y, width=w, height=h) for t, x, y, w, h in seen["boxes"]),
            viewport=size,
            document=tuple(seen["document"]),
            background=tuple(seen["background"]),
            renderer="playwright",
        )
        return render, png


def bench_trl() -> Figures:
    """Samples a second of both (medians over rounds) and their ratio; empty without TRL, a developer extra."""
    if importlib.util.find_spec("trl") is None:
        print("TRL is not installed (extra `dev`); not compared", file=sys.stderr)
        return {}
    with tempfile.TemporaryDirectory() as folder:
        quick = ("episode.rounds=0", "refill=0", "browser.cache_mb=0", "report.films=0", "learner.distill_weight=0")
        settings = load_settings(SETTINGS, [*quick, f"steps={STEPS + 8}", f"runs={folder}"])
        return asyncio.run(_both(settings, Path(folder)))


async def _both(settings: RunSettings, folder: Path) -> Figures:
    ours, theirs = list[dict[str, float]](), list[dict[str, float]]()
    model = warm_start_blocking(settings)
    async with launched(settings, folder) as actors:
        for turn in range(ROUNDS):
            chosen = settings.model_copy(update={"seed": settings.seed + turn})
            theirs.append(await asyncio.to_thread(_apart, model, chosen, folder / f"trl-{turn}"))
            run, observer = await played(chosen, actors, folder / f"ours-{turn}", "ours", STEPS + 1)
            ours.append({"samples_per_s": observer.rate(run), "reward": run.state.history[-1]["reward_first"]})
    figures: Figures = {"steps": float(STEPS), "rounds": float(ROUNDS)}
    for name, rows in (("ours", ours), ("trl", theirs)):
        figures |= {f"{name}_{key}": median(row[key] for row in rows) for key in rows[0]}
    return {"ratio_over_trl": figures["ours_samples_per_s"] / figures["trl_samples_per_s"], **figures}


def _apart(model: Path, settings: RunSettings, folder: Path) -> dict[str, float]:
    """Runs TRL in a separate process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(train_with_trl, str(model), settings.model_dump_json(), str(folder)).result()


def train_with_trl(model: str, settings_json: str, folder: str) -> dict[str, float]:
    """Samples a second of GRPOTrainer after its first step, and the last step's mean reward."""
    sys.stdout = sys.stderr  # Keep TRL's tables out of the results on standard output.
    import torch
    from datasets import Dataset
    from transformers import AutoTokenizer, TrainerCallback
    from trl import GRPOTrainer

    torch.set_num_threads(os.cpu_count() or 1)
    settings, ends = RunSettings(**json.loads(settings_json)), list[float]()
    curriculum = Curriculum(settings)
    tasks = [
        curriculum.task(1 + n // settings.groups, n % settings.groups) for n in range((STEPS + 1) * settings.groups)
    ]
    rows = [
        {"prompt": [{"role": m.role, "content": m.content} for m in first(t)], "place": i} for i, t in enumerate(tasks)
    ]

    class StepClock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())
            print(f"trl step {len(ends)}", file=sys.stderr, flush=True)

    trainer = GRPOTrainer(
        model=model,
        reward_funcs=PlaywrightReward(tasks, settings),
        args=_config(settings, folder),
        train_dataset=Dataset.from_list(rows),
        processing_class=AutoTokenizer.from_pretrained(model),
        callbacks=[StepClock()],
    )
    trainer.train()
    samples = (len(ends) - 1) * settings.groups * settings.group_size
    logged = [row for row in trainer.state.log_history if "reward" in row]
    told = {key: float(logged[-1][name]) for key, name in (("reward", "reward"), ("tokens", "completions/mean_length"))}
    return {"samples_per_s": samples / (ends[-1] - ends[0]), **told}


def _config(settings: RunSettings, folder: str) -> Any:
    """The run's settings as a GRPOConfig; settings without a counterpart keep TRL's defaults."""
    from trl import GRPOConfig

    learner, episode = settings.learner, settings.episode
    return GRPOConfig(
        output_dir=folder,
        use_cpu=True,
        bf16=False,
        per_device_train_batch_size=settings.groups * settings.group_size,
        num_generations=settings.group_size,
        max_completion_length=episode.max_tokens,
        temperature=episode.temperature,
        top_k=0,
        learning_rate=learner.lr,
        lr_scheduler_type="constant",
        adam_beta1=learner.betas[0],
        adam_beta2=learner.betas[1],
        max_grad_norm=learner.grad_clip,
        epsilon=learner.clip_low,
        epsilon_high=learner.clip_high,
        beta=0.0,
        loss_type="dapo",
        scale_rewards="none",
        mask_truncated_completions=True,
        gradient_checkpointing=False,
        max_steps=STEPS + 1,
        shuffle_dataset=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=settings.seed,
    )


def _launch() -> dict[str, Any]:
    """Launch options with the headless shell, which is faster than the full browser."""
    return launch_options() | {"executable_path": headless_shell()}


def _block(row: list[Any]) -> TextBlock:
    text, x, y, width, height, color, background, size, weight, tag = row
    return TextBlock(
        text=text,
        x=x,
        y=y,
        width=width,
        height=height,
        color=tuple(map(int, color)),  # type: ignore[arg-type]
        background=tuple(map(int, background)),  # type: ignore[arg-type]
        font_px=size,
        weight=weight,
        tag=tag,
    )
