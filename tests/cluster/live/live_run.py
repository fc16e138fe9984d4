"""A run's folder with drawn episodes, and a server of its live page."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drawn_episodes import PICTURES, film, history

from cluster.live.run_page import RunPage
from cluster.live.server import LiveServer
from cluster.settings import RunSettings
from cluster.storage.pending_groups import PendingGroups
from cluster.storage.store import Store
from rollout.records import Group


def new_run(path: Path, steps: int = 0) -> Store:
    """A run of which `steps` steps of two groups are finished; screenshots are stored for the first of each step."""
    store = Store(path)
    settings = RunSettings(name=path.name).model_dump(mode="json")
    store.write_json("run.json", {"run_id": path.name, "settings": settings})
    for step in range(1, steps + 1):
        store.write_groups(step, [group(step, step), group(step, step + 50)])
    if steps:
        store.write_history(history(steps))
    keep_pictures(store)
    return store


def group(step: int, kind: int) -> Group:
    """A group with one drawn episode."""
    episode = film(step, kind, 1 + kind % 3).trajectory
    return Group(task=episode.task, trajectories=(episode,))


def finish_group(store: Store, step: int, place: int, kind: int) -> None:
    """Stores a pending group, as a run does when a group is finished before its step is."""
    PendingGroups(store, seed=0).put((step, place), group(step, kind))
    keep_pictures(store)


def keep_pictures(store: Store) -> None:
    """Stores all pictures that were drawn so far."""
    for sha256, png in PICTURES.items():
        (store.shots / f"{sha256}.png").write_bytes(png)


def write_status(store: Store, **values: Any) -> None:
    """Writes `status.json`, as a run does every second."""
    store.write_json("status.json", {"status": "running", "time": time.time(), **values})


@contextmanager
def served(*stores: Store) -> Iterator[str]:
    """The address of a server of these runs."""
    with LiveServer([RunPage(store, place) for place, store in enumerate(stores)], "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def names(store: Store, query: Any) -> list[str]:
    """Names of the episodes on a page."""
    return [item.name for item in RunPage(store).items(query) if item.episode]


def rows(answer: bytes) -> list[list[str]]:
    """The answer to a request for digests."""
    parsed: list[list[str]] = json.loads(answer)
    return parsed
