"""Test of a run on two hosts (network namespaces), one of which is cut off during a step and brought back."""

import asyncio
import json
import secrets
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from family import ProcessFamily
from hosts import Host, Hosts, NoHosts, apart
from nodes import RAY, start_node
from truth import events_of, examine
from world import PATIENCE_S, ROOT, TINY, World

pytestmark = [
    pytest.mark.engine,
    # MLflow's own models use deprecated SQLAlchemy features.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
POOLS = ("policy-", "browser-", "learner-rank-", "critic-", "worker-")
HANDS = ("VLLM", "headless", "ray::VLLMPolicy", "ray::Chromium", "ray::LearnerRank", "ray::Visual", "ray::RayEpisode")
ALL_RESTARTED = "restarting all actors"
INTO_STEP_S = 2.0
ENDING_S = 60.0
BOARD = "http://127.0.0.1:8265"
PLACED = ("cluster.roles=true", "cluster.policy_cpus=0", "cluster.browser_cpus=0", "cluster.learner_cpus=0")
SPREAD = ("learner.ranks=2", "learner.threads=1", "cluster.placement_timeout_s=600")
NEAR, FAR = {"learner": 1}, {"learner": 1, "policy": 1, "browser": 2}
"""Resources of the two hosts. The far host offers no CPU, so workers and critics run with the driver."""
IMPATIENT = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "5000",
    "RAY_health_check_failure_threshold": "3",
}
"""Ray declares a host lost after about 20 s of silence instead of a minute."""
ASK = """
import os, sys, urllib.request
request = urllib.request.Request(sys.argv[1], headers={"Authorization": "Bearer " + os.environ["RAY_AUTH_TOKEN"]})
print(urllib.request.urlopen(request, timeout=60).read().decode())
"""


class Site(World):
    """A Ray cluster of two hosts, and a run submitted as a job."""

    def __init__(self, folder: Path, family: ProcessFamily, hosts: Hosts) -> None:
        super().__init__(folder, family, (*PLACED, *SPREAD))
        self.hosts, (self.near, self.far) = hosts, hosts.all
        self.variables |= IMPATIENT | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self.variables |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_register_timeout_seconds": "600"}
        self.temp, self.far_temp = self.short_folder(), self.short_folder()
        head = ("--head", "--port=6379", f"--temp-dir={self.temp}")
        log, near = folder / "near.log", self.near
        self.head = start_node(self, log, *head, offers=NEAR, address=near.address, on=near.command())
        self.join()

    def join(self) -> None:
        """Start the node on the far host."""
        on = self.far.command(*apart(self.far_temp, self.temp))
        how, log = f"--address={self.near.address}:6379", self.folder / "far.log"
        self.node = start_node(self, log, how, offers=FAR, cpus=0, address=self.far.address, on=on)

    def start(self) -> None:
        """Submit the job to the head and follow its output."""
        entry = ["python", "-m", "cluster.train", TINY, *(word for one in self.options for word in ("--set", one))]
        excludes = json.dumps({"excludes": [".git", ".venv", ".cache", "runs"]})
        submit = [RAY, "job", "submit", "--address", BOARD, "--working-dir", str(ROOT), "--runtime-env-json", excludes]
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                self.near.command(*submit, "--", *entry), stdout=output, stderr=output, env=self.environment
            )

    def ask(self, path: str) -> Any:
        """Answer of the dashboard API, requested on the head's host."""
        return json.loads(self.run_on(self.near, ASK, f"{BOARD}/{path}").stdout)

    def run_on(self, host: Host, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run Python code on a host."""
        command = host.command(sys.executable, "-c", code, *arguments)
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)

    def places(self) -> dict[str, set[str]]:
        """Addresses of the living actors by pool."""
        address, found = {node["node_id"]: node["node_ip"] for node in self.nodes()}, defaultdict(set)
        for actor in self.ask("api/v0/actors?detail=1&limit=1000")["data"]["result"]["result"]:
            if actor["state"] == "ALIVE" and actor["name"].startswith(POOLS):
                found[actor["name"].rpartition("-")[0]].add(address[actor["node_id"]])
        return dict(found)

    def nodes(self) -> list[dict[str, Any]]:
        """All nodes known to the head."""
        listed: list[dict[str, Any]] = self.ask("api/v0/nodes")["data"]["result"]["result"]
        return listed


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    try:
        with Hosts(2) as made:
            yield made
    except NoHosts as error:
        pytest.skip(f"no second host can be made here: {error}")


@pytest.fixture
def world(tmp_path: Path, hosts: Hosts) -> Iterator[Site]:
    with ProcessFamily() as family:
        site = Site(tmp_path, family, hosts)
        try:
            yield site
        finally:
            family.kill()
            for process in (site.head, site.node, site.process):
                assert process is None or process.wait() is not None


def test_run_survives_the_loss_and_return_of_a_host(world: Site, capsys: pytest.CaptureFixture[str]) -> None:
    check_the_door(world)
    world.start()
    assert world.wait_for(lambda: world.stage() >= 1, "the first exam"), world.said()
    near, far = {world.near.address}, {world.far.address}
    assert world.places() == {
        "policy": far, "browser": far, "learner-rank": near | far, "critic": near, "worker": near
    }  # fmt: skip
    assert world.wait_for(lambda: world.stage() >= 2, "step 1"), world.said()
    time.sleep(INTO_STEP_S)
    figures = cut_off_and_bring_back(world)
    assert world.finish() == 0, world.said()

    found, carried = asyncio.run(examine(world)), world.hosts.carried(world.far)
    assert events_of(world, r"lost .*; restarting all actors after step \d") >= 1, world.said()
    assert sorted(node["state"] for node in world.nodes()) == ["ALIVE", "ALIVE", "DEAD"]
    assert world.family.left_behind(HANDS) == []
    with capsys.disabled():
        print(
            f"\ntwo hosts: {figures}; {carried / 1e6:.0f} MB through the cable; {found.finished} episodes finished, "
            f"{found.dropped} dropped, {found.zeros} zeros, all their pages' own"
        )


def check_the_door(world: Site) -> None:
    """Check that the dashboard is not reachable from the other host and refuses requests without the token."""
    knock = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=60)"
    assert world.run_on(world.far, knock, world.near.address, "6379").returncode == 0
    assert "ConnectionRefusedError" in world.run_on(world.far, knock, world.near.address, "8265").stderr
    assert world.run_on(world.near, ASK, f"{BOARD}/api/jobs/").returncode == 0
    bare = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=60)"
    assert "HTTP Error 401" in world.run_on(world.near, bare, f"{BOARD}/api/jobs/").stderr


def cut_off_and_bring_back(world: Site) -> str:
    """Cut the far host off until the run notices, then start its node again; the durations as text."""
    cut, restarts = time.monotonic(), world.log.read_text().count(ALL_RESTARTED)
    world.hosts.cut(world.far)
    assert world.wait_for(lambda: world.log.read_text().count(ALL_RESTARTED) > restarts, "the far host to be missed")
    missed = time.monotonic()
    world.hosts.mend(world.far)
    world.node.wait(PATIENCE_S)
    assert family_on(world) == [], "a node that is out of the cluster must leave nothing behind"
    world.join()
    back = time.monotonic()
    steps = len(world.history())
    assert world.wait_for(lambda: len(world.history()) > steps, "the next step"), world.said()
    return (
        f"missed after {missed - cut:.0f} s, the node was back {back - missed:.0f} s later, and a step with new actors "
        f"was learnt {time.monotonic() - back:.0f} s after that"
    )


def family_on(world: Site) -> list[str]:
    """Command lines of the run's processes on the far host."""
    (place,) = Path("/var/run/netns").glob(world.far.name)
    deadline = time.monotonic() + ENDING_S
    while lines := [line for one, line in world.family.members().items() if on(one.pid, place)]:
        if time.monotonic() > deadline:
            return lines
        time.sleep(0.5)
    return []


def on(pid: int, place: Path) -> bool:
    """Whether a process is in a network namespace."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino == place.stat().st_ino
    except OSError:
        return False
