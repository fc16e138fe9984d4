"""Tests of `cluster.experiments` reproduction: each variant and seed trained once, and a page that matches the runs."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from doubles import Notebook, PaperCurriculum, PaperLearner, PaperPolicy, services, worker

from cluster.experiments.claims.claim import CLAIMS, find, reward_gain, rewards, student
from cluster.experiments.claims.page import write_claims
from cluster.experiments.claims.reproduce import Job, alone_in, finished, jobs_of, main, read_table, reproduce
from cluster.experiments.claims.result_files import KeptResults
from cluster.experiments.claims.results import ExamScores, Result, Revised, first_revisions, standing
from cluster.monitoring.summary import summarise
from cluster.settings import RunSettings, load_settings
from cluster.storage.store import Store
from cluster.training.loop import train
from cluster.training.run import Run
from cluster.training.state import RunState
from rollout.errors import CheckpointError, SettingsError
from rollout.records import Reward, Trajectory, Turn, Verdict

RUN = """
steps = 6
groups = 6
group_size = 4
[episode]
rounds = 1
attempts = 2
max_tokens = 16
[exam]
tasks = 12
every = 6
inference_tasks = 4
edit_rounds = 1
[checkpoint]
every = 6
"""
TABLE = """
settings = "{run}"
seeds = [1, 2, 3]
set.episode.rounds = 2
[variants.relook]
title = "ReLook"
[variants.vision_only]
title = "vision reward only"
set.episode.rounds = 0
[variants.no_forcing]
title = "without Forced Optimization"
set.episode.forced = false
[quick]
seeds = [4]
variants = ["vision_only"]
set.steps = 2
set.exam.every = 2
"""


class PaperTraining:
    """Replaces `python -m cluster.train` by a run on paper actors; `codes` are the exit codes of failing runs."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.calls: list[list[str]] = []

    def __call__(self, arguments: Sequence[str]) -> int:
        self.calls.append(list(arguments))
        if arguments[0] == "--resume":
            store = Store(Path(arguments[1]))
            settings = RunSettings.model_validate(store.read_json("run.json")["settings"])
        else:
            settings = load_settings(Path(arguments[0]), [word for word in arguments[1:] if word != "--set"])
            store = Store(Path(settings.runs) / f"{settings.name}-{len(self.calls):04d}")
            store.write_json("run.json", {"settings": settings.model_dump(mode="json"), "code_version": "c0ffee"})
        code = self.codes.pop(0) if self.codes else 0
        if code == 0:
            asyncio.run(self.finish(store, settings))
        return code

    async def finish(self, store: Store, settings: RunSettings) -> None:
        policy = PaperPolicy()
        run = Run(
            settings=settings,
            curriculum=PaperCurriculum(),  # type: ignore[arg-type]
            store=store,
            workers=worker(services(policy=policy), settings.episode, store),
            learner=PaperLearner(policy, lr=2.0),
            observer=Notebook(),
            state=RunState(),
        )
        await train(run)
        store.write_json("summary.json", summarise("run", "finished", run.state, settings))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    (tmp_path / "run.toml").write_text(RUN)
    (tmp_path / "table.toml").write_text(TABLE.format(run=tmp_path / "run.toml"))
    return tmp_path / "table.toml"


def jobs(table: Path, **options: Any) -> list[Job]:
    return list(jobs_of(read_table(table), table.parent / "runs", **options))


def kept(table: Path) -> KeptResults:
    return KeptResults(table.parent / "claims" / "runs")


def test_each_variant_and_seed_is_trained_once_and_reported(table: Path) -> None:
    training, out = PaperTraining(), table.parent / "claims.md"
    command = ["--table", str(table), "--runs", str(table.parent / "runs"), "--out", str(out)]
    assert main(command, training) == 0
    assert len(training.calls) == 9
    assert main(command, training) == 0
    assert len(training.calls) == 9, "what is finished is not done again"
    page = out.read_text()
    rows = {line.split(" | ")[0].lstrip("| "): line for line in page.splitlines() if line.startswith("| ")}
    results = finished(jobs(table), kept(table))
    finding = find(results, "relook", None, reward_gain)
    assert finding is not None
    assert finding.low > 0, "the paper policy learns"
    beaten = rows["ReLook beats the base policy"]
    assert f"{finding.mean:+.3f}" in beaten
    assert f"{finding.low:+.3f} to {finding.high:+.3f} | 3 | **holds**" in beaten
    assert rows["The zero rule anchors renderability"].endswith("| – | – | 0 | not run |")
    assert "9 runs of 6 steps" in page
    assert "c0ffee" in page
    for name in ("valid", "rounds"):
        assert f"](claims/{name}.svg)" in page
        drawn = ElementTree.fromstring((out.parent / "claims" / f"{name}.svg").read_text())
        assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
        assert "ReLook" in "".join(drawn.itertext())


def test_all_runs_share_one_base_policy_exam(table: Path) -> None:
    assert reproduce(jobs(table)[:4], PaperTraining(), kept(table)) == 0
    results = finished(jobs(table), kept(table))
    before = [run.before for seeds in results.values() for run in seeds.values()]
    assert len(before) == 4
    assert all(sat == before[0] for sat in before)
    assert len(before[0].rewards) == 12
    forced, free = results["relook"][1].rounds, results["no_forcing"][1].rounds
    assert len(forced) == len(free) == 3
    assert list(forced) == sorted(forced), "what is admitted is better"
    assert len(results["vision_only"][1].rounds) == 1


def test_stopped_run_stops_all_and_resumes_and_a_failed_run_does_not(table: Path) -> None:
    training = PaperTraining(1, 130)
    assert reproduce(jobs(table), training, kept(table)) == 130
    assert len(training.calls) == 2
    assert reproduce(jobs(table), training, kept(table)) == 0
    resumed = [call[1] for call in training.calls[2:4]]
    assert [Path(path).name for path in resumed] == ["relook-1-0001", "vision_only-1-0002"]
    assert [call[0] for call in training.calls[4:]] == [str(table.parent / "run.toml")] * 7
    assert reproduce(jobs(table, quick=True), PaperTraining(1), kept(table)) == 1
    with pytest.raises(SettingsError, match="vision_only-4 are invalid"):
        reproduce(jobs(table, quick=True), PaperTraining(2), kept(table))


def test_run_with_other_settings_is_not_reused(table: Path) -> None:
    assert reproduce(jobs(table)[:1], PaperTraining(), kept(table)) == 0
    assert jobs(table)[0].find()[1]
    (table.parent / "run.toml").write_text(RUN.replace("groups = 6", "groups = 5"))
    assert jobs(table)[0].find() == (None, False)


def test_kept_results_survive_deleted_runs_of_the_same_settings(table: Path) -> None:
    assert reproduce(jobs(table)[:2], PaperTraining(), kept(table)) == 0
    results = finished(jobs(table), kept(table))
    shutil.rmtree(table.parent / "runs")
    assert finished(jobs(table), kept(table)) == results
    elsewhere = list(jobs_of(read_table(table), table.parent / "other_runs"))
    again = PaperTraining()
    assert reproduce(elsewhere[:2], again, kept(table)) == 0
    assert again.calls == [], "where a run was kept is no part of what it did"
    (table.parent / "run.toml").write_text(RUN.replace("groups = 6", "groups = 5"))
    assert finished(jobs(table), kept(table)) == {}
    (table.parent / "claims" / "runs" / "relook-1.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"relook-1\.json is damaged"):
        finished(jobs(table), kept(table))


def test_page_without_runs_claims_nothing(table: Path) -> None:
    out = table.parent / "claims.md"
    assert (
        main(["--table", str(table), "--runs", str(table.parent), "--out", str(out), "--report"], PaperTraining()) == 0
    )
    assert f"**0 of {len(CLAIMS)} claims hold at this scale.**" in out.read_text()
    assert "No run is finished yet" in out.read_text()
    assert "holds**" not in out.read_text().replace("claims hold", "")
    assert ".svg" not in out.read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = ", "not readable as TOML"),
        ('settings = "a"\nseeds = []\n[variants.a]\ntitle = ""', "seeds: "),
        (
            'settings = "a"\nseeds = [1]\n[variants.a]\ntitle = ""\n[quick]\nvariants = ["b"]',
            "must name variants of",
        ),
    ],
)
def test_bad_table_gives_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "table.toml").write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        read_table(tmp_path / "table.toml")
    assert "\n" not in str(caught.value)


def test_shipped_table_is_valid_and_complete() -> None:
    shipped = read_table(Path("deploy/reproduce.toml"))
    found = list(jobs_of(shipped, Path("runs/reproduce")))
    assert len(found) == 3 * 8
    assert [job.seed for job in found] == sorted(job.seed for job in found)
    chosen = {job.variant: load_settings(job.settings, job.overrides) for job in found}
    assert {run.learner.credit for run in chosen.values()} == {"outcome", "turn", "page", "siblings"}
    assert (chosen["vision_only"].episode.rounds, chosen["vision_only"].learner.distill_weight) == (0, 0)
    assert not chosen["no_forcing"].episode.forced
    assert not chosen["no_zero_rule"].score.zero_rule
    assert {(run.steps, run.groups, run.group_size, run.exam.tasks) for run in chosen.values()} == {
        (run.steps, run.groups, run.group_size, run.exam.tasks) for run in [chosen["relook"]]
    }
    assert list(jobs_of(shipped, Path("runs/quick"), quick=True))


def result(seed: int, *gains: float) -> Result:
    """A run that improved the reward of each task by these gains."""
    before = {f"t{place}": 0.25 for place in range(len(gains))}
    after = {f"t{place}": 0.25 + gain for place, gain in enumerate(gains)}
    inference = {"reward": 0.5, "valid": 0.5, "tokens": 9, "seconds": 1.0}
    edited = {f"{name}_1": value for name, value in inference.items()} | {"reward_1": 0.75}
    summary = {
        "steps": 2,
        "seconds": {"total": 60},
        "episodes": {"machine_faults": 0},
        "valid_render_rate": {"first": 0.25, "last": 0.5},
        "inference": {"base": inference, "self_edit": inference | edited, "with_critic": inference},
    }
    return Result(
        variant="",
        seed=seed,
        summary=summary,
        history=[{"step": step, "valid_render_rate": 0.25 * step} for step in (1, 2)],
        before=ExamScores(rewards=before, valid=before),
        after=ExamScores(rewards=after, valid=after),
        rounds=[0.25, 0.5],
        revised=Revised(page=0.5, attempt=0.375, best=0.625, better=0.25, after_zero=None),
        code_version="c0ffee",
    )


def test_claim_verdicts_follow_the_confidence_interval(tmp_path: Path) -> None:
    good, bad, mixed = (0.25, 0.125, 0.25), (-0.25, -0.125, -0.25), (0.25, -0.25, 0.0)
    for gains, verdict in ((good, "**holds**"), (bad, "the opposite is shown"), (mixed, "0 is within the interval")):
        results = {
            "relook": {seed: result(seed, *gains) for seed in (1, 2, 3, 4)},
            "vision_only": {seed: result(seed, 0, 0, 0) for seed in (2, 3, 4, 5)},
        }
        write_claims(tmp_path / "claims.md", results, {"relook": "ReLook", "vision_only": "vision"})
        lines = (tmp_path / "claims.md").read_text().splitlines()
        assert [line for line in lines if line.startswith("| ReLook | self-edit × 1 | 0.750 | 50% | 9 | 1.0 |")]
        for text in ("ReLook beats the base policy", "ReLook beats vision-reward RL"):
            (line,) = [line for line in lines if line.startswith(f"| {text} |")]
            assert verdict in line
        assert "| 3 |" in line, "compared with the seeds that both have"
        (line,) = [line for line in lines if line.startswith("| ReLook with one round of self-edit beats")]
        assert "| +0.250 |" in line, "its revision against the other's first page"
        (line,) = [line for line in lines if line.startswith("| A revision is better than its page")]
        assert "| -0.125 |" in line
        assert "| ReLook | 0.500 | 0.375 | 0.625 | – | 25% |" in lines
    with pytest.raises(ValueError, match="different tasks"):
        find({"relook": {1: result(1, 0.5)}, "vision_only": {1: result(1, 0.5, 0.5)}}, "relook", "vision_only", rewards)


def test_two_seeds_are_too_few_for_a_claim() -> None:
    finding = find({"relook": {seed: result(seed, 0.5, 0.5) for seed in (1, 2)}}, "relook", None, reward_gain)
    assert finding is not None
    assert (finding.low, finding.verdict) == (0.5, "too few seeds: 2 of 3")


def test_single_values_have_a_student_t_interval() -> None:
    # t(0.975; 2) = 4.3027; the standard deviation of 1, 2, 3 is 1.
    assert student([1, 2, 3]) == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-4)
    assert student([0.5])[1:] == (float("-inf"), float("inf"))


def last_episode(table: Path) -> Trajectory:
    """An episode of the last step of the first run."""
    assert reproduce(jobs(table)[:1], PaperTraining(), kept(table)) == 0
    run = jobs(table)[0].find()[0]
    assert run is not None
    return (Store(run).read_groups(6) or [])[0].trajectories[0]


def test_all_variants_are_measured_under_the_zero_rule(table: Path) -> None:
    trajectory = last_episode(table)
    first = trajectory.turns[0].attempts[0]
    broken = replace(first, reward=Reward(total=0.1, gate=0, format=1.0))
    paid = replace(trajectory, turns=(replace(trajectory.turns[0], attempts=(broken,)),))
    assert standing([paid], 2) == [0, 0, 0]


def test_first_revisions_are_measured_before_selection(table: Path) -> None:
    trajectory = last_episode(table)
    attempt = trajectory.turns[0].attempts[0]

    def turn(number: int, *rewards: float) -> Turn:
        attempts = [replace(attempt, reward=Reward(total=total, gate=1, format=1.0)) for total in rewards]
        verdicts: list[Verdict] = ["not_better"] * (len(rewards) - 1) + ["accepted"]
        judged = tuple(replace(one, verdict=verdict) for one, verdict in zip(attempts, verdicts, strict=True))
        return replace(trajectory.turns[0], round=number, attempts=judged)

    better = replace(trajectory, turns=(turn(0, 0.25), turn(1, 0.5), turn(2, 0.875)))
    worse = replace(trajectory, turns=(turn(0, 0.5), turn(1, 0.25, 0.75)))
    first = replace(trajectory, turns=(turn(0, 0.875),))
    failed = replace(trajectory, turns=(turn(0, 0.0), turn(1, 0.75)))
    seen = first_revisions([better, worse, first])
    assert seen == Revised(page=0.375, attempt=0.375, best=0.625, better=0.5, after_zero=None)
    seen = first_revisions([better, worse, failed, failed])
    assert seen == Revised(page=0.1875, attempt=0.5625, best=0.6875, better=0.75, after_zero=0.75)
    assert first_revisions([first]) is None


def test_quick_runs_have_a_separate_folder(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELOOK_HOME", str(table.parent))
    assert main(["--quick", "--table", str(table)], PaperTraining()) == 0
    assert (table.parent / "runs" / "reproduce-quick" / "claims.md").is_file()
    assert not (table.parent / "docs").exists()
    (run,) = (table.parent / "runs" / "reproduce-quick").glob("*/run.json")
    assert json.loads(run.read_text())["settings"]["steps"] == 2


def test_two_commands_cannot_share_a_folder(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    training, runs = PaperTraining(), table.parent / "runs"
    with alone_in(runs):
        assert main(["--table", str(table), "--runs", str(runs), "--out", str(runs / "claims.md")], training) == 2
    assert "in use by another" in capsys.readouterr().err
    assert training.calls == []
