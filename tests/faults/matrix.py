"""The kill matrix: `make kills ARGS='--only "policy engine" --seed 0 --out runs/kills.md'`.

Each component is killed with -9 at three moments of a real small run, drawn by seed: a stage of the run each, early
or late in it. The run must go on, or resume, and be true afterwards (see `truth`). Takes about an hour on two cores.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from family import Family
from truth import Finding, events_of, examine
from victims import VICTIMS, Victim
from world import STAGES, World

KILLS = 3
HEAD = (
    "| killed | moments | events in the report | episodes finished + dropped | faults | zeros, all their own "
    "| pages as undisturbed | seconds (undisturbed) |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of killing one component."""

    victim: Victim
    moments: Sequence[str]
    events: int
    finding: Finding
    faults: int
    seconds: float

    def show(self, calm_s: float) -> str:
        """As a line of the table."""
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
    """A run that nobody disturbed: what others are compared with, and how long each stage takes."""

    world: World
    stage_s: tuple[float, ...]
    seconds: float


def rest(folder: Path, family: Family) -> Calm:
    """Does the undisturbed run."""
    world, began = World(folder, family), []
    started = time.monotonic()
    world.start()
    for stage in range(len(STAGES)):
        world.wait_for(lambda stage=stage: world.stage() >= stage, STAGES[stage])
        began.append(time.monotonic())
    assert world.finish() == 0, world.said()
    ends = [*began[1:], time.monotonic()]
    return Calm(
        world=world,
        stage_s=tuple(end - start for start, end in zip(began, ends, strict=True)),
        seconds=time.monotonic() - started,
    )


def moments(seed: int, victim: Victim, num: int = KILLS) -> list[tuple[int, float]]:
    """Stages to kill in, in order, and how far into each."""
    draw = random.Random(f"{seed} {victim.name}")
    return [(stage, round(draw.random(), 2)) for stage in sorted(draw.sample(range(len(STAGES)), num))]


def disturb(victim: Victim, calm: Calm, folder: Path, family: Family, when: Sequence[tuple[int, float]]) -> Row:
    """Does a run in which the victim is killed at some moments. Raises AssertionError when it is not as it must be."""
    world = World(folder, family)
    world.options = (*world.options, *victim.options(world))
    started = time.monotonic()
    world.start()
    for stage, share in when:
        reached = world.wait_for(lambda stage=stage: world.stage() >= stage, STAGES[stage])
        assert reached, f"the run ended before {STAGES[stage]}:\n{world.said()}"
        time.sleep(share * calm.stage_s[stage])
        struck = world.wait_for(lambda: victim.strike(world), victim.name)
        assert struck, f"nobody was there to be killed in {STAGES[stage]}:\n{world.said()}"
        victim.mend(world)
    code = world.finish()
    assert code == 0, f"exit code {code}:\n{world.said()}"
    seconds, finding = time.monotonic() - started, asyncio.run(examine(world, calm.world))
    events = events_of(world, victim.event)
    assert events, f"the report says nothing like {victim.event!r}:\n{world.said()}"
    return Row(
        victim=victim,
        moments=[f"{STAGES[stage]} {share:.0%}" for stage, share in when],
        events=events,
        finding=finding,
        faults=int(sum(row["machine_faults"] for row in world.history())),
        seconds=seconds,
    )


def rows(seed: int, only: str, folder: Path) -> Iterator[str]:
    """The table, line by line, as it becomes known."""
    with Family() as family:
        calm = rest(folder / "calm", family)
        yield HEAD
        for victim in (victim for victim in VICTIMS if only in victim.name):
            place = folder / victim.name.replace(" ", "-")
            try:
                row = disturb(victim, calm, place, family, moments(seed, victim))
            except AssertionError as error:
                (place / "failure").write_text(str(error))
                yield f"| {victim.name} | FAILED: {str(error).partition(chr(10))[0]} ({place}) |"
            else:
                yield row.show(calm.seconds)
            family.kill()


def main() -> int:
    """Prints the table, and writes it; the exit code is 1 when a row failed."""
    parser = argparse.ArgumentParser(description="Kills everything, one after the other.")
    parser.add_argument("--only", default="", help="part of a component's name")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kills.md"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="relook-kills-"))
    table = []
    for line in rows(options.seed, options.only, folder):
        print(line, flush=True)
        table.append(line)
        options.out.write_text("\n".join(table) + "\n")
    return int(any("FAILED" in line for line in table))


if __name__ == "__main__":
    sys.exit(main())
