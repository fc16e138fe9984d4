"""Tests of the run's store: round trips of all records, no partly written files, and damaged files."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_groups import groups

from cluster.storage.pending_groups import PendingGroups
from cluster.storage.store import Store
from rollout.errors import CheckpointError, StorageFault
from rollout.files import atomic_write
from rollout.records import Comparison, Critique, Group, Page, Probe, ProbeStep


async def test_groups_round_trip_through_the_table(tmp_path: Path) -> None:
    store = Store(tmp_path)
    played = await groups(store)
    store.write_groups(3, played)
    assert store.read_groups(3) == played
    assert [store.read_groups(3, most) for most in (0, 1, 2, 9)] == [[], played[:1], played, played]
    assert store.read_groups(4) is None


def said(**fields: Any) -> Critique:
    return Critique(score=0.5, feedback=("Hm.",), judge="m", rubric="page-3", temperature=0.7, tokens=9, **fields)


async def test_critiques_and_comparisons_of_several_critics_round_trip(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (group, *_) = await groups(store)
    one = Comparison(answers=("new", "tie"), judge="m", rubric="pair-1", temperature=0.7, tokens=4, seconds=0.5)
    judged: dict[str, Any] = {
        "critique": said(members={"looks": said(parts={"blocks": 0.25}), "model": said(scores=(0.25, 0.75))}),
        "comparison": replace(one, members={"model": one}),
        "verdict": "not_preferred",
    }
    trajectory = group.trajectories[0]
    attempts = tuple(replace(attempt, **judged) for attempt in trajectory.turns[0].attempts)
    trajectory = replace(trajectory, turns=(replace(trajectory.turns[0], attempts=attempts), *trajectory.turns[1:]))
    group = replace(group, trajectories=(trajectory, *group.trajectories[1:]))
    store.write_groups(1, [group])
    assert store.read_groups(1) == [group]


async def test_problem_of_edits_round_trips(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (group, *_) = await groups(store)
    trajectory = group.trajectories[0]
    page = Page(html=None, problem="missing_search", detail="edit 1 …", format_ok=False)
    attempts = tuple(replace(attempt, page=page) for attempt in trajectory.turns[0].attempts)
    trajectory = replace(trajectory, turns=(replace(trajectory.turns[0], attempts=attempts), *trajectory.turns[1:]))
    group = replace(group, trajectories=(trajectory,))
    store.write_groups(1, [group])
    assert store.read_groups(1) == [group]


async def test_equal_groups_stay_separate_and_fully_dropped_groups_are_kept(tmp_path: Path) -> None:
    store, (_, group) = Store(tmp_path), await groups(Store(tmp_path / "played"))
    lost = Group(task=group.task, trajectories=(), dropped=3)
    stored = [group, group, lost, replace(group, dropped=1)]
    store.write_groups(1, stored)
    assert store.read_groups(1) == stored


async def test_pending_groups_exclude_groups_already_stored_by_a_step(tmp_path: Path) -> None:
    store = Store(tmp_path)
    pending, played = PendingGroups(store, seed=7), await groups(store)
    first, second = (
        replace(
            one,
            trajectories=tuple(
                replace(t, id=f"{one.task.id}/{i}@{pending.seed_of(place)}") for i, t in enumerate(one.trajectories)
            ),
        )
        for one, place in zip(played, [(1, 5), (2, 0)], strict=True)
    )
    for place in ((2, 1), (2, 0), (1, 5)):
        pending.begin(place)
    pending.put((1, 5), first)
    pending.put((2, 0), second)
    pending.put((2, 1), replace(second, dropped=1))
    assert (pending.take((1, 5)), pending.take((2, 0))) == (first, second)
    assert pending.take((2, 1)) is None, "what lost episodes is better played again"
    assert pending.places() == [(1, 5), (2, 0), (2, 1)]
    store.write_groups(2, [first])
    assert pending.places() == [(2, 0), (2, 1)], "a run that is killed between the two must not learn from one twice"
    pending.clear(keep=[(2, 0)])
    assert pending.take((1, 5)) is None
    (damaged,) = pending.folder.glob("*-place-000000.arrow")
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="damaged .* delete it to play"):
        pending.take((2, 0))
    pending.clear()
    assert pending.places() == []


async def test_probe_steps_with_options_survive_the_store(tmp_path: Path) -> None:
    store = Store(tmp_path)
    steps = (
        ProbeStep(kind="click", role="button", nth=0),
        ProbeStep(kind="expect_text", label="Total", pattern="/EUR/", negated=True),
        ProbeStep(kind="expect_change"),
    )
    first = (await groups(store))[0]
    group = replace(first, task=replace(first.task, probes=(Probe(name="total", steps=steps),)))
    store.write_groups(1, [group])
    assert store.read_groups(1)[0].task == group.task


def test_pending_group_that_cannot_be_written_names_its_path(tmp_path: Path) -> None:
    pending = PendingGroups(Store(tmp_path), seed=7)
    pending.folder.write_text("in the way")
    with pytest.raises(StorageFault, match="cannot write .*unlearnt/step-000001-place-000002.begun"):
        pending.begin((1, 2))


async def test_kept_images_are_found_by_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    played = await groups(store)
    shots = [s for t in played[0].trajectories for a in t.accepted if a.render is not None for s in a.render.shots]
    assert shots
    assert all(store.picture(shot.sha256) for shot in shots)
    assert all(shot.picture is None for shot in shots), "no pixel leaves the worker"
    assert store.reference(played[1].task) is not None
    assert store.picture("0" * 64) is None


async def test_truncated_table_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.write_groups(1, await groups(store))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="step-000001.parquet: damaged"):
        store.read_groups(1)


def test_unknown_run_is_named(tmp_path: Path) -> None:
    (Store(tmp_path / "demo-1")).write_json("run.json", {})
    with pytest.raises(CheckpointError, match="no run 'demo-2' under .*; the newest are: demo-1"):
        Store.open(tmp_path, "demo-2")


def test_checkpoint_without_a_state_is_incomplete_and_old_ones_are_pruned(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for step in (1, 2, 3):
        store.checkpoint(step).mkdir()
        if step < 3:
            store.write_state(step, {"step": step}, keep=1)
    assert store.saved_steps() == [2]
    assert not store.checkpoint(1).exists()


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-30], lambda text: text.replace('"step": 3', '"step": 5'), lambda text: ""]
)
def test_damaged_state_is_refused_and_the_last_valid_one_is_named(tmp_path: Path, damage: Any) -> None:
    store = Store(tmp_path)
    for step in (1, 2, 3):
        store.write_state(step, {"step": step, "history": [{"loss": 0.1 * step}]}, keep=3)
    paths = [tmp_path / "checkpoints" / f"step-{step:06d}.json" for step in (1, 2, 3)]
    assert store.read_state(3) == {"step": 3, "history": [{"loss": 0.1 * 3}]}
    paths[2].write_text(damage(paths[2].read_text()))
    with pytest.raises(
        CheckpointError, match=r"step-000003\.json: .*step-000003\* to continue from step-000002, the newest intact"
    ):
        store.read_state(3)
    paths[1].write_text("{")
    with pytest.raises(CheckpointError, match=r"to continue from step-000001, the newest intact"):
        store.read_state(3)
    paths[0].unlink()
    with pytest.raises(CheckpointError, match="no earlier checkpoint is intact"):
        store.read_state(3)


def test_events_are_stored_one_per_line(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.events() == []
    for event in ("12:00:01 lost browser-0: it\nis gone", "12:00:02 browser-0 restarted"):
        store.note(event)
    assert store.events() == ["12:00:01 lost browser-0: it is gone", "12:00:02 browser-0 restarted"]


def test_newest_checkpoints_are_kept_and_incomplete_ones_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.checkpoint(1).mkdir()  # A kill left this checkpoint without a state.
    for step in (2, 3, 4, 5):
        store.checkpoint(step).mkdir()
        store.write_state(step, {"step": step}, keep=2, spare=3)
    assert store.saved_steps() == [3, 4, 5]
    assert {path.name for path in store.checkpoints.iterdir() if path.is_dir()} == {
        f"step-{step:06d}" for step in (3, 4, 5)
    }


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    yield place  # type: ignore[misc]
    subprocess.run(["umount", str(place)], check=True)


def test_full_disk_is_a_storage_fault_and_keeps_existing_files(tiny_disk: Path) -> None:
    atomic_write(tiny_disk / "kept", b"k" * 1000)
    with pytest.raises(StorageFault, match="No space left on device; free space there and resume"):
        atomic_write(tiny_disk / "big", b"b" * 200_000)
    assert (tiny_disk / "kept").read_bytes() == b"k" * 1000
    assert [path.name for path in tiny_disk.iterdir()] == ["kept"]


def test_file_at_the_place_of_a_folder_is_a_storage_fault(tmp_path: Path) -> None:
    (tmp_path / "runs").write_bytes(b"a file")
    with pytest.raises(StorageFault, match=r"cannot write .*/runs/one/state\.json"):
        atomic_write(tmp_path / "runs" / "one" / "state.json", b"{}")
    assert (tmp_path / "runs").read_bytes() == b"a file"
