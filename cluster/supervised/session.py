"""A session of supervised fine-tuning: corpus, training, export, samples and results, each stage resumable.

A run's folder has `tasks.parquet`, `judged.parquet` (all judged pages), `examples.parquet` and `encoded.parquet` (the
corpus), `corpus.json` (its counts), `metrics.jsonl`, `checkpoints/`, `champion/` (the exported model), `exams/` (the
sampled pages), `summary.json` and `report.html`.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.monitoring.display import Display
from cluster.paths import resolve_path
from cluster.supervised import corpus
from cluster.supervised.corpus import CorpusCounts, EncodedExample
from cluster.supervised.report import SupervisedReport, write_report
from cluster.supervised.requests import SupervisedPlan
from cluster.supervised.samples import sample_figures, sample_pages, sample_pairs
from cluster.supervised.summary import summarise
from cluster.supervised.training import HELD_OUT, Row, Training
from cluster.training.stage_times import StageClock
from learner.supervised.examples import FORMS

if TYPE_CHECKING:
    from cluster.distributed.connection import Connection
    from cluster.monitoring.tracking.tracker import Tracker

JUDGED, EXAMPLES, ENCODED = "judged.parquet", "examples.parquet", "encoded.parquet"
COUNTS = "corpus.json"
CHAMPION = "champion"
"""Folder of the exported model, as in runs of reinforcement learning: `evaluate --run` and `generate --run` take it."""
TASKS_PER_BROWSER = 2
"""Tasks judged concurrently for each browser, so that none waits for critics."""


class SupervisedSession:
    """One process of a fine-tuning."""

    def __init__(self, plan: SupervisedPlan, display: Display) -> None:
        self.plan, self.display = plan, display
        self.clock = StageClock()
        self.counts: dict[str, Any] = {}
        self.history: list[Row] = []
        self.tracker: Tracker | None = None
        """None until MLflow is open."""
        self.connection: Connection | None = None
        """None until Ray is connected."""

    async def work(self) -> None:
        """Runs all stages that are not finished."""
        from cluster.preflight.model_proof import prove_model

        plan = self.plan
        self.display.stage("opening MLflow")
        self.tracker = await asyncio.to_thread(self._open_tracker)
        for note in plan.notes:
            self.display.note(note)
        with self.clock("setup"):
            model = await self._model()
            self.display.stage("proving that the learner computes the model's log-probs")
            proof = await prove_model(plan.settings, model)
            self.display.note(str(proof))
            await self._connect()
        with self.clock("corpus"):
            examples = await self._corpus(model)
        with self.clock("train"):
            await self._train(model, examples, packed=proof.packed)
        with self.clock("samples"):
            await self._sample(model)

    async def close(self, status: str) -> None:
        """Writes summary and report, ends the MLflow run and disconnects from Ray. Raises StorageFault."""
        try:
            await asyncio.to_thread(self._publish, status)
        finally:
            if self.connection is not None:
                await asyncio.to_thread(self.connection.leave)

    @property
    def _last_step(self) -> int:
        return int(self.history[-1]["step"]) if self.history else 0

    def _open_tracker(self) -> "Tracker":
        from cluster.monitoring.tracking.tracker import open_tracker

        plan = self.plan
        return open_tracker(plan.settings, plan.store, plan.run_id, plan.mlflow_run, self.display.note)

    async def _model(self) -> Path:
        from cluster.preflight.warm_start import warm_start

        settings = self.plan.settings
        if settings.model != "builtin":
            return resolve_path(settings.model)
        self.display.stage("warm start: the built-in policy, pre-trained once and kept")
        return await warm_start(settings, self.display)

    async def _connect(self) -> None:
        from cluster.distributed.connection import connect
        from cluster.distributed.stop_signals import restore_handlers

        self.display.stage("starting Ray")
        self.connection = await asyncio.to_thread(connect)
        restore_handlers()

    async def _corpus(self, model: Path) -> list[EncodedExample]:
        """The tokenized examples; made unless the run's folder has them."""
        plan, path = self.plan, self.plan.store.path
        settings = plan.settings
        counts = CorpusCounts()
        if not (path / COUNTS).is_file():
            await self._make_examples(counts)
            self.display.stage("tokenizing the examples")
            await corpus.encode(model, path / EXAMPLES, path / ENCODED, settings.policy.template_arguments)
            plan.store.write_json(COUNTS, counts.as_json())
        self.counts = plan.store.read_json(COUNTS)
        found = corpus.read_encoded(path / EXAMPLES, path / ENCODED, self._longest(model), counts)
        self.counts |= {name: counts.as_json()[name] for name in ("too_long", "examples")}
        self.display.note(f"corpus: {corpus.describe(self.counts)}")
        return found

    async def _make_examples(self, counts: CorpusCounts) -> None:
        """Judges the damaged pages of all tasks and writes the examples."""
        from cluster.preflight.references import check_with_actors
        from cluster.supervised.actors import judging_actors
        from cluster.supervised.judged_pages import PageJudge, judgment_key, write_pages

        plan = self.plan
        settings, tasks = plan.settings, plan.tasks
        if settings.task.source != "builtin":
            self.display.stage("checking the reference pages")
            await check_with_actors({settings.task.source: tasks}, settings, self._progress("reference pages"))
        self.display.stage("rendering and judging damaged pages")
        async with judging_actors(settings, plan.store) as actors:
            key = judgment_key(settings, actors.renderer, actors.critic)
            judge = PageJudge(actors.worker, settings, resolve_path(settings.cache) / "sft" / key)
            at_once = TASKS_PER_BROWSER * settings.browser.count
            judged = await judge.judge_all(tasks, at_once=at_once, progress=self._progress("tasks judged"))
        write_pages(plan.store.path / JUDGED, [page for task in judged for page in task.pages])
        examples = corpus.make_examples(tasks, judged, settings, counts)
        held_out = frozenset(task.id for task in plan.held_out)
        corpus.write_examples(plan.store.path / EXAMPLES, examples, held_out)

    def _longest(self, model: Path) -> int:
        """Maximum tokens of an example: the model's context and the learner's token budget."""
        from cluster.preflight.lengths import context_of

        settings = self.plan.settings
        budget = settings.learner.token_budget
        return min(budget, context_of(settings, model) or budget)

    async def _train(self, model: Path, examples: Sequence[EncodedExample], *, packed: bool) -> None:
        """Trains and exports the model, unless the run's folder has it."""
        from cluster.supervised.actors import learner_ranks

        plan = self.plan
        training = Training(
            settings=plan.settings, store=plan.store, examples=examples, show=self._show, history=self.history
        )
        saved = plan.store.saved_steps()
        if saved and saved[-1] == training.steps and (plan.store.path / CHAMPION).is_dir():
            self.history[:] = plan.store.read_state(saved[-1])["history"]
            return
        self.display.stage("starting the learner")
        learner = plan.settings.sft.of_learner(plan.settings.learner, training.steps)
        settings = plan.settings.model_copy(update={"learner": learner})
        async with learner_ranks(settings, model, packed=packed) as ranks:
            self.display.stage("training")
            await training.run(ranks)
            await ranks.export(plan.store.path / CHAMPION)
        self.display.note(f"exported: {plan.store.path / CHAMPION}")

    async def _sample(self, model: Path) -> None:
        """Samples pages of held-out tasks with the initial and the trained model, unless they are stored."""
        from cluster.supervised.actors import judging_actors

        plan = self.plan
        tasks = plan.held_out[: plan.settings.sft.samples]
        if not tasks:
            return
        for step, directory in ((0, model), (self._last_step, plan.store.path / CHAMPION)):
            if plan.store.read_exam(step) is None:
                self.display.stage(
                    f"sampling {len(tasks)} pages of {'the initial' if step == 0 else 'the trained'} model"
                )
                async with judging_actors(plan.settings, plan.store, directory) as actors:
                    await sample_pages(actors.worker, tasks, step)

    def _show(self, history: Sequence[Row], total: int) -> None:
        """Shows the last row of the history, and delivers it to MLflow."""
        row = history[-1]
        self.display.progress(int(row["step"]), total, f"updates, loss {row.get('loss', float('nan')):.3f}")
        losses = ", ".join(f"{form} {row[HELD_OUT + form]:.3f}" for form in FORMS if HELD_OUT + form in row)
        if losses:
            self.display.note(f"step {row['step']:.0f} of {total}: held-out loss {losses}")
        if self.tracker is not None:
            self.tracker.metrics(history)

    def _progress(self, what: str) -> Any:
        return lambda done, total: self.display.progress(done, total, what)

    def _publish(self, status: str) -> None:
        """Writes the results from the run's folder."""
        plan, store = self.plan, self.plan.store
        before, after = store.read_exam(0) or [], store.read_exam(self._last_step) or []
        finished = self._last_step > 0
        samples = {"before": sample_figures(before), "after": sample_figures(after)} if finished and after else {}
        summary = summarise(
            run_id=plan.run_id,
            status=status,
            model=plan.settings.model,
            history=self.history,
            seconds=self.clock.seconds,
            corpus=self.counts,
            held_out_tasks=len(plan.held_out),
            samples=samples,
        )
        store.write_json("summary.json", summary)
        report = SupervisedReport(
            run_id=plan.run_id,
            status=status,
            summary=summary,
            settings=plan.settings.model_dump(mode="json"),
            history=self.history,
            pairs=sample_pairs(store, before, after) if samples else (),
            picture=store.picture,
        )
        try:
            write_report(store.path / "report.html", report)
        finally:
            self._end_mlflow(status)

    def _end_mlflow(self, status: str) -> None:
        if self.tracker is None:
            return
        self.tracker.reach()
        for name in ("summary.json", "report.html"):
            if (self.plan.store.path / name).is_file():
                self.tracker.file(self.plan.store.path / name)
        self.tracker.finish(status)
