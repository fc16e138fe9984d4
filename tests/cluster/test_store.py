"""What is written can be read back, and nothing half-written remains."""

import subprocess
from pathlib import Path

import pytest
from doubles import PaperPolicy, cast, task, worker

from cluster.store import Store
from rollout.errors import CheckpointError, StorageFault
from rollout.files import write_aside
from rollout.records import Group, Probe, ProbeStep, Viewport
from rollout.settings import EpisodeSettings

SCREENS = Viewport(width=1280, height=800), Viewport(width=390, height=844)


async def groups(store: Store) -> list[Group]:
    probe = Probe(name="opens", steps=(ProbeStep(kind="click", selector="#a"), ProbeStep(kind="expect_change")))
    tasks = [
        task("a", probes=(probe,)),
        task("b", checklist=("is blue",), reference_html="<p>level 4</p>", viewports=SCREENS),
    ]
    hands = worker(cast(policy=PaperPolicy()), EpisodeSettings(rounds=2, attempts=3, max_tokens=16), store)
    return [await hands.play_group(one, num=3, seed=index, keep=True) for index, one in enumerate(tasks)]


async def test_groups_survive_the_table_whole(tmp_path: Path) -> None:
    store = Store(tmp_path)
    played = await groups(store)
    store.write_groups(3, played)
    assert store.read_groups(3) == played
    assert [store.read_groups(3, most) for most in (0, 1, 2, 9)] == [[], played[:1], played, played]
    assert store.read_groups(4) is None


async def test_kept_pictures_are_found_by_hash(tmp_path: Path) -> None:
    store = Store(tmp_path)
    played = await groups(store)
    shots = [s for t in played[0].trajectories for a in t.accepted if a.render is not None for s in a.render.shots]
    assert shots
    assert all(store.picture(shot.sha256) for shot in shots)
    assert all(shot.picture is None for shot in shots), "no pixel leaves the worker"
    assert store.reference(played[1].task) is not None
    assert store.picture("0" * 64) is None


async def test_a_truncated_table_is_refused_by_name(tmp_path: Path) -> None:
    store = Store(tmp_path)
    path = store.write_groups(1, await groups(store))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="step-000001.parquet: damaged"):
        store.read_groups(1)


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    (Store(tmp_path / "demo-1")).write_json("run.json", {})
    with pytest.raises(CheckpointError, match="no run 'demo-2' under .*; the newest are: demo-1"):
        Store.open(tmp_path, "demo-2")


def test_checkpoints_are_whole_only_with_their_state_and_the_oldest_go(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for step in (1, 2, 3):
        store.checkpoint(step).mkdir()
        if step < 3:
            store.write_state(step, {"step": step}, keep=1)
    assert store.saved_steps() == [2]
    assert not store.checkpoint(1).exists()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Path:
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a tmpfs cannot be mounted here (needs root)")
    yield place  # type: ignore[misc]
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_a_storage_fault_and_what_was_written_stays(tiny_disk: Path) -> None:
    write_aside(tiny_disk / "kept", b"k" * 1000)
    with pytest.raises(StorageFault, match="No space left on device; free space there and resume"):
        write_aside(tiny_disk / "big", b"b" * 200_000)
    assert (tiny_disk / "kept").read_bytes() == b"k" * 1000
    assert [path.name for path in tiny_disk.iterdir()] == ["kept"]
