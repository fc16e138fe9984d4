"""The kill matrix: `make kills ARGS='--only "policy engine" --seed 0 --out runs/kills.md'`.

Each component is killed with SIGKILL at three moments of a small real run, drawn by seed: each in another stage of the
run, early or late in it. The run must continue or resume, and must be correct afterwards (see `truth`). Components
whose loss does not restart the other actors share a run, and with it the counts. Takes half an hour on two cores.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from family import ProcessFamily
from truth import Finding, events_of, examine
from victims import VICTIMS, Victim
from world import STAGES, World

KILLS = 3
HEAD = (
    "| killed | moments | events in the report | episodes finished + dropped | faults | zeros, all their own "
    "| pages as undisturbed | seconds (undisturbed) |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Moment of one kill."""

    stage: int
    share: float
    """As a share of the stage's duration in the undisturbed run."""
    victim: Victim


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of the kills of one component."""

    victim: Victim
    moments: Sequence[str]
    events: int
    finding: Finding
    faults: int
    seconds: float

    def show(self, calm_s: float) -> str:
        """A line of the table."""
        found = self.finding
        cells = (
            self.victim.name,
            ", ".join(self.moments),
            self.events,
            f"{found.finished} + {found.dropped}",
            self.faults,
            found.zeros,
            found.same,
            f"{self.seconds:.0f} ({calm_s:.0f})",
        )
        return f"| {' | '.join(map(str, cells))} |"


@dataclass(frozen=True, kw_only=True)
class Calm:
    """The undisturbed run, for comparison, with the duration of each stage."""

    world: World
    stage_s: Sequence[float]
    seconds: float


def rest(folder: Path, family: ProcessFamily) -> Calm:
    """Run the undisturbed run, unless an earlier call stored it."""
    times = folder / "times.json"
    if times.exists():
        return Calm(world=World(folder, family), **json.loads(times.read_text()))
    world, began = World(folder, family), []
    started = time.monotonic()
    world.start()
    for stage in range(len(STAGES)):
        world.wait_for(lambda stage=stage: world.stage() >= stage, STAGES[stage])
        began.append(time.monotonic())
    # From here on all actors are being stopped.
    world.wait_for(lambda: (world.run / "summary.json").exists() and world.summary()["status"] == "finished", "the end")
    ends = [*began[1:], time.monotonic()]
    assert world.finish() == 0, world.said()
    stage_s = [end - start for start, end in zip(began, ends, strict=True)]
    calm = Calm(world=world, stage_s=stage_s, seconds=time.monotonic() - started)
    times.write_text(json.dumps({"stage_s": calm.stage_s, "seconds": calm.seconds}))
    return calm


def moments(seed: int, victims: Sequence[Victim], num: int = KILLS) -> list[Moment]:
    """Kill moments of each victim in order: `num` different stages, and a time in each."""
    found = []
    for victim in victims:
        draw = random.Random(f"{seed} {victim.name}")
        found += [
            Moment(stage=stage, share=round(draw.random(), 2), victim=victim)
            for stage in draw.sample(range(len(STAGES)), num)
        ]
    return sorted(found, key=lambda moment: (moment.stage, moment.share))


def disturb(
    victims: Sequence[Victim], calm: Calm, folder: Path, family: ProcessFamily, when: Sequence[Moment]
) -> Iterator[Row]:
    """Run with these kills. Raises AssertionError if the run is not correct afterwards."""
    world = World(folder, family)
    world.options += tuple(option for victim in victims for option in victim.options(world))
    started = time.monotonic()
    world.start()
    for stage, several in groupby(when, key=lambda moment: moment.stage):
        reached = world.wait_for(lambda stage=stage: world.stage() >= stage, STAGES[stage])
        assert reached, f"the run ended before {STAGES[stage]}:\n{world.said()}"
        began = time.monotonic()
        for moment in several:
            time.sleep(max(0.0, began + moment.share * calm.stage_s[stage] - time.monotonic()))
            victim = moment.victim
            struck = world.wait_for(lambda victim=victim: victim.strike(world), victim.name)
            assert struck, f"no {victim.name} was there to be killed in {STAGES[stage]}:\n{world.said()}"
            victim.mend(world)
    code = world.finish()
    assert code == 0, f"exit code {code}:\n{world.said()}"
    seconds, finding = time.monotonic() - started, asyncio.run(examine(world, calm.world))
    for victim in victims:
        events = events_of(world, victim.event)
        assert events, f"the report says nothing like {victim.event!r}:\n{world.said()}"
        yield Row(
            victim=victim,
            moments=[f"{STAGES[one.stage]} {one.share:.0%}" for one in when if one.victim is victim],
            events=events,
            finding=finding,
            faults=int(sum(row["machine_faults"] for row in world.history())),
            seconds=seconds,
        )


def rows(seed: int, only: str, folder: Path) -> Iterator[str]:
    """The lines of the table as they become available."""
    with ProcessFamily() as family:
        calm = rest(folder / "calm", family)
        yield HEAD
        for victims in VICTIMS:
            names = ", ".join(victim.name for victim in victims)
            if only not in names:
                continue
            place = Path(tempfile.mkdtemp(prefix=f"{victims[0].name.replace(' ', '-')}-", dir=folder))
            try:
                for row in disturb(victims, calm, place, family, moments(seed, victims)):
                    yield row.show(calm.seconds)
            except AssertionError as error:
                (place / "failure").write_text(str(error))
                yield f"| {names} | FAILED: {str(error).partition(chr(10))[0]} ({place}) |"
            family.kill()


def main() -> int:
    """Print and write the table; the exit code is 1 if a row failed."""
    parser = argparse.ArgumentParser(description="Kills everything, one after the other.")
    parser.add_argument("--only", default="", help="part of a component's name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kills.md"))
    parser.add_argument("--folder", type=Path, help="where the runs are; an undisturbed one that is there serves again")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    folder = options.folder or Path(tempfile.mkdtemp(prefix="relook-kills-"))
    folder.mkdir(parents=True, exist_ok=True)
    table = []
    for line in rows(options.seed, options.only, folder):
        print(line, flush=True)
        table.append(line)
        options.out.write_text("\n".join(table) + "\n")
    return int(any("FAILED" in line for line in table))


if __name__ == "__main__":
    sys.exit(main())
