"""Ten kills of one run: `make resumes ARGS='--seed 0 --staleness 0 --out runs/resumes.md'`.

A small real run is killed with SIGKILL at ten moments drawn by seed, the driver alone or all processes, and resumed
each time. With `max_staleness = 0` it must give the same batches, exams and metrics as an undisturbed run. With any
staleness, nothing may appear twice in its tables or in MLflow, and no group finished before a kill may be lost. Takes a
quarter of an hour on two cores.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exact import differences
from family import ProcessFamily
from world import World

from cluster.storage.pending_groups import PendingGroups
from cluster.storage.store import Store, read_groups
from cluster.training.metrics import batch_id

KILLS = 10
STEPS = 6
SEED = 3
"""Seed of the run, see `tiny.toml`."""
CLOSE = 1e-6
OPTIONS = (f"steps={STEPS}", "exam.every=3", "checkpoint.every=2", "refill=0.5")
AGAINST_SET_UP = 0.2
"""Share of the kills during the setup of a run."""


@dataclass(frozen=True, kw_only=True)
class Kill:
    """Moment and target of one kill."""

    number: int
    in_set_up: bool
    after_s: float
    """Seconds after the start, or after all actors were started."""
    everybody: bool
    """Kill all processes, or the driver alone."""


@dataclass(kw_only=True)
class Seen:
    """Stored data seen after each kill, which must neither change nor be lost."""

    batches: dict[int, int] = field(default_factory=dict)
    """Batch id of each stored step."""
    finished: dict[tuple[int, int], int] = field(default_factory=dict)
    """Batch id of each finished pending group, by its place."""
    shelved: int = 0
    begun: int = 0
    """Numbers of finished and of all pending groups that the resumes found."""

    def look(self, world: World) -> None:
        """Record the stored data; raises AssertionError if a stored step changed."""
        store = Store(world.run)
        for step, batch in batches_of(store).items():
            assert self.batches.setdefault(step, batch) == batch, f"step {step} was learnt from another batch before"
        pending = PendingGroups(store, SEED)
        for place in pending.places():
            self.begun += 1
            if (group := pending.take(place)) is not None:
                self.finished[place] = batch_id([group])
                self.shelved += 1


def kills(seed: int, set_up_s: float, work_s: float, num: int = KILLS) -> list[Kill]:
    """Kill moments; those after the setup are spread evenly over the work of the undisturbed run."""
    draw = random.Random(f"resumes {seed}")
    early = {number for number in range(2, num + 1) if draw.random() < AGAINST_SET_UP}
    moments = sorted(draw.uniform(0, work_s) for _ in range(num - len(early)))
    lives = iter([now - before for before, now in zip([0.0, *moments], moments, strict=False)])
    return [
        Kill(
            number=number,
            in_set_up=number in early,
            after_s=draw.uniform(0, set_up_s) if number in early else next(lives),
            everybody=draw.random() < 0.5,
        )
        for number in range(1, num + 1)
    ]


def undisturbed(world: World) -> tuple[float, float]:
    """Run the undisturbed run; seconds of its setup, and seconds from then on."""
    began = time.monotonic()
    world.start()
    assert world.wait_for(world.ready, "the actors"), world.said()
    stood = time.monotonic()
    assert world.finish() == 0, world.said()
    return stood - began, time.monotonic() - stood


def disturbed(world: World, when: Sequence[Kill], seen: Seen) -> Iterator[str]:
    """Run with kills; yields a table line per kill."""
    for kill in when:
        world.start()
        stood = kill.in_set_up or world.wait_for(world.ready, "the actors")
        until = time.monotonic() + kill.after_s
        if not stood or not world.wait_for(lambda until=until: time.monotonic() >= until, "the moment"):
            assert world.finish() == 0, world.said()
            yield f"| {kill.number} | – | – | it had finished | |"
            return
        if kill.everybody:
            world.family.kill()
        else:
            world.driver.kill()
        if world.family.left_behind():  # Remaining processes are a failure in the kill matrix, not here.
            world.family.kill()
        assert world.process is not None
        world.process.wait()
        finished, begun, done = seen.shelved, seen.begun, len(batches_of(Store(world.run)))
        seen.look(world)
        moment = f"{kill.after_s:.1f} s {'into the set-up' if kill.in_set_up else 'after the actors had started'}"
        who = "everybody" if kill.everybody else "the driver"
        yield f"| {kill.number} | {who} | {moment} | {done} | {seen.shelved - finished} of {seen.begun - begun} |"
    world.start()
    assert world.finish() == 0, world.said()


def batches_of(store: Store) -> dict[int, int]:
    """Batch id of each stored step."""
    steps = (int(path.stem.removeprefix("step-")) for path in sorted(store.trajectories.glob("step-*.parquet")))
    return {step: batch_id(store.read_groups(step) or []) for step in steps}


def check_once(world: World, seen: Seen, staleness: int) -> str:
    """Raises AssertionError if anything appears twice, or was lost after a kill."""
    store, history = Store(world.run), world.history()
    assert [row["step"] for row in history] == list(range(1, STEPS + 1)), "a step is missing, or was counted twice"
    batches = batches_of(store)
    assert [row["batch_id"] for row in history] == list(batches.values())
    assert {step: batches[step] for step in seen.batches} == seen.batches
    groups = [group for step in batches for group in store.read_groups(step) or []]
    learnt = Counter(trajectory.id for group in groups for trajectory in group.trajectories)
    assert set(learnt.values()) == {1}, "an episode was learnt from twice"
    used = {batch_id([group]) for group in groups}
    unused = [place for place, finished in seen.finished.items() if finished not in used]
    given_up = int(sum(row["groups_given_up"] for row in history))
    late = [place for place in unused if place[0] + staleness >= STEPS]
    assert len(unused) <= given_up + (len(late) if staleness else 0), f"finished groups were lost: {unused}"
    assert PendingGroups(store, SEED).places() == []
    found = f"of {len(seen.finished)} groups that kills found finished, {len(unused)} were too stale for any step"
    return f"{len(learnt)} episodes, each learnt from once; {found}"


def check_mlflow(world: World) -> str:
    """Raises AssertionError if MLflow has a step, exam or champion twice or not at all."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{world.place}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'tiny'")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    steps, exams = list(range(1, STEPS + 1)), [exam["step"] for exam in state_of(world)["exams"]]
    wanted = {"reward/best": steps, "learner/loss": steps, "exam/reward": exams}
    for name, points in wanted.items():
        found = [point.step for point in client.get_metric_history(run.info.run_id, name)]
        assert found == points, f"MLflow has {name} of steps {found}"
    told = [point.value for point in client.get_metric_history(run.info.run_id, "reward/best")]
    assert told == [row["reward_best"] for row in world.history()]
    versions = client.search_model_versions("name = 'tiny'")
    registered = sorted(int(version.tags["step"]) for version in versions)
    assert len(set(registered)) == len(registered), f"champions of steps {registered} are registered"
    champion = state_of(world)["champion_step"]
    assert not champion or client.get_model_version_by_alias("tiny", "champion").tags["step"] == str(champion)
    return f"one MLflow run, each of {len(steps)} steps and {len(exams)} exams once; champions registered: {registered}"


def state_of(world: World) -> Mapping[str, Any]:
    """State of the last checkpoint."""
    value: dict[str, Any] = json.loads(max((world.run / "checkpoints").glob("step-*.json")).read_text())
    return value


def check_same(world: World, calm: World) -> str:
    """Raises AssertionError if the run differs from the undisturbed run."""
    gap, step, name = max(differences(world.history(), calm.history()))
    mine, theirs = state_of(world), state_of(calm)
    same, total = same_tokens(world, calm)
    figures = (
        f"{same} of {total} completions have the same tokens; metrics are at most {gap:.1e} apart ({name}, step {step})"
    )
    assert [row["batch_id"] for row in world.history()] == [row["batch_id"] for row in calm.history()], figures
    assert gap <= CLOSE, figures
    assert mine["champion_step"] == theirs["champion_step"]
    apart = [
        abs(exam["rewards"][task] - reward)
        for exam, its in zip(mine["exams"], theirs["exams"], strict=True)
        for task, reward in its["rewards"].items()
    ]
    assert max(apart) <= CLOSE, f"exams are {max(apart):.1e} apart"
    return f"the same {STEPS} batches; {figures}; exams at most {max(apart):.1e} apart"


def same_tokens(world: World, calm: World) -> tuple[int, int]:
    """Number of equal completions in both runs, and number of completions of the undisturbed run."""
    mine, theirs = ([*written(Store(one.run))] for one in (world, calm))
    return (Counter(mine) & Counter(theirs)).total(), len(theirs)


def written(store: Store) -> Iterator[tuple[object, ...]]:
    """Every completion of the stored steps."""
    for path in sorted(store.trajectories.glob("step-*.parquet")):
        for trajectory in (trajectory for group in read_groups(path) for trajectory in group.trajectories):
            for attempt in (attempt for turn in trajectory.turns for attempt in turn.attempts):
                yield trajectory.id, attempt.round, attempt.index, attempt.completion.token_ids


def lines(seed: int, staleness: int, folder: Path, num: int) -> Iterator[str]:
    """The lines of the page as they become available."""
    options = (*OPTIONS, f"max_staleness={staleness}")
    with ProcessFamily() as family:
        calm, world = World(folder / "calm", family, options), World(folder / "killed", family, options)
        set_up_s, work_s = undisturbed(calm)
        calm_s = f"undisturbed {set_up_s:.0f} s of set-up, {work_s:.0f} s of work"
        yield f"max_staleness = {staleness}, seed {seed}: {calm_s}\n"
        yield "| kill | who | when | steps stored | groups begun, of no step yet: finished |\n|---|---|---|---|---|"
        seen = Seen()
        yield from disturbed(world, kills(seed, set_up_s, work_s, num), seen)
        yield ""
        checks = [lambda: check_once(world, seen, staleness), lambda: check_mlflow(world)]
        for check in [*checks, *([] if staleness else [lambda: check_same(world, calm)])]:
            try:
                yield f"- {check()}"
            except AssertionError as error:
                yield f"- FAILED: {str(error).partition(chr(10))[0]} ({folder})"


def main() -> int:
    """Print and write the page; the exit code is 1 if a check failed."""
    parser = argparse.ArgumentParser(description="Kills a run again and again, and compares what it comes to.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--staleness", type=int, default=0)
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--out", type=Path, default=Path("runs/resumes.md"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="relook-resumes-"))
    page = []
    for line in lines(options.seed, options.staleness, folder, options.kills):
        print(line, flush=True)
        page.append(line)
        options.out.write_text("\n".join(page) + "\n")
    return int(any("FAILED" in line for line in page))


if __name__ == "__main__":
    sys.exit(main())
