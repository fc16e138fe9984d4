"""Victims of the kill matrix: each with settings of its run, a kill, a repair by the environment, and the expected
event."""

import atexit
import contextlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from typing import Protocol

import psutil
from nodes import start_node
from world import PATIENCE_S, ROOT, World

REST_S = 5.0
LONGEST_REST_S = 30.0
"""After this time a server returns although the run has not missed it: nothing may be left to ask of it."""
"""Seconds until the operator of a server or node restarts it."""
DISK_MB = 512
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Two Ray processes that, after their driver's death, try for a minute to report to the dead GCS and then exit."""
HTTP_CRITIC = ("critic.kind=http", "critic.model=judge", "critic.answer_format=json_schema", "critic.in_flight=4")


class Victim(Protocol):
    """One row of the matrix."""

    name: str
    event: str
    """Pattern of an event that the report must contain."""

    def options(self, world: World) -> tuple[str, ...]:
        """Settings of its run; starts the services that the run needs."""
        ...

    def strike(self, world: World) -> bool:
        """Kill it with SIGKILL; False if it is not running."""
        ...

    def mend(self, world: World) -> None:
        """The repair that the system leaves to its environment."""
        ...


class Hand:
    """A process that the run itself must restart; its command line matches `pattern`."""

    def __init__(self, name: str, pattern: str, event: str, *options: str) -> None:
        self.name, self.pattern, self.event = name, re.compile(pattern), event
        self._options, self._struck = options, 0

    def options(self, world: World) -> tuple[str, ...]:
        """Settings given to the constructor."""
        return self._options

    def strike(self, world: World) -> bool:
        """Kill the oldest matching process, once the run has noticed the previous kill."""
        if len(re.findall(self.event, world.log.read_text(errors="replace"))) < self._struck:
            return False
        found = [one for one, line in world.family.members().items() if self.pattern.search(line)]
        end(found[:1])
        self._struck += bool(found)
        return bool(found)

    def mend(self, world: World) -> None:
        """No repair: the run restarts the process."""


class JudgedHand(Hand):
    """The same, in a run whose critic calls a judge server."""

    judge: "Service"

    def options(self, world: World) -> tuple[str, ...]:
        """Start the judge server, unless another victim of this run started it."""
        if "judge" not in world.services:
            command = [sys.executable, "tests/faults/judge.py"]
            world.services["judge"] = Service(world, "judge", lambda port: [*command, port], "v1/models")
        self.judge = world.services["judge"]
        # Judgments are cached between runs by the judge's name; a new name avoids the cache.
        name = f"critic.model=judge-{secrets.token_hex(4)}"
        return (*HTTP_CRITIC, name, f"critic.base_url=http://127.0.0.1:{self.judge.port}/v1", *self._options)


class CriticServer(JudgedHand):
    """The judge server; its operator restarts it."""

    def strike(self, world: World) -> bool:
        """Kill the server and its children."""
        self._reported = self._reports(world)
        return self.judge.kill()

    def mend(self, world: World) -> None:
        """Restart on the same port, after the run reported the loss, or after LONGEST_REST_S."""

        until = time.monotonic() + LONGEST_REST_S

        def missed() -> bool:
            return self._reports(world) > self._reported or time.monotonic() > until

        meanwhile(lambda: (world.wait_for(missed, "the judge to be missed"), self.judge.start()))

    def _reports(self, world: World) -> int:
        return len(re.findall(self.event, world.log.read_text(errors="replace")))


class MlflowServer:
    """The MLflow tracking server; its operator restarts it."""

    name = "MLflow server"
    event = r"MLflow did not accept"

    def options(self, world: World) -> tuple[str, ...]:
        """Start the server with its own database."""
        store = f"sqlite:///{world.folder}/server.db"
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
        command += ["--artifacts-destination", str(world.folder / "artifacts"), "--port"]
        self.server = Service(world, "mlflow", lambda port: [*command, port], "health")
        world.variables["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{self.server.port}"
        return ()

    def strike(self, world: World) -> bool:
        """Kill the server and its workers."""
        return self.server.kill()

    def mend(self, world: World) -> None:
        """Restart on the same port, after the run reported the loss, or after LONGEST_REST_S."""

        until = time.monotonic() + LONGEST_REST_S

        def missed() -> bool:
            said = world.log.read_text(errors="replace")
            away = said.count("MLflow did not accept") > said.count("MLflow accepts data again")
            return away or time.monotonic() > until

        meanwhile(lambda: (world.wait_for(missed, "MLflow to be missed"), self.server.start()))


class Driver:
    """The driver process of the run, with the Ray cluster that it started."""

    name = "driver"
    event = r"resumed after step \d"

    def options(self, world: World) -> tuple[str, ...]:
        """No settings."""
        return ()

    def strike(self, world: World) -> bool:
        """Kill only the driver; the other processes must exit by themselves."""
        world.driver.kill()
        return True

    def mend(self, world: World) -> None:
        """Resume, once no process of the first run is left except two Ray agents."""
        assert world.process is not None
        world.process.wait()
        alone(world, but=RAY_AGENTS)
        world.start()


class Disk:
    """The disk space of the runs: a small tmpfs, which requires root."""

    name = "the disk's space"
    event = Driver.event

    def options(self, world: World) -> tuple[str, ...]:
        """Place the runs on the small disk."""
        place = world.place = world.folder / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "relook", str(place)]
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        atexit.register(subprocess.run, ["umount", "--lazy", str(place)], check=False)
        return (f"runs={place}",)

    def strike(self, world: World) -> bool:
        """Fill the disk."""
        with (world.place / "filled").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(2**16)):
                continue
        return shutil.disk_usage(world.place).free < 2**16

    def mend(self, world: World) -> None:
        """Without space the run must exit in an orderly way; then free the space and resume. It may also have finished
        already."""
        code = world.finish()
        if code == 0 and world.summary()["status"] == "finished":
            (world.place / "filled").unlink()
            return
        assert code == 1, f"without space the run must end in order, with exit code 1, got {code}:\n{world.said()}"
        assert "free space there and resume" in world.said(), world.said()
        assert "Traceback" not in world.log.read_text(errors="replace"), world.said()
        alone(world)
        (world.place / "filled").unlink()
        world.start()


class Nodes:
    """A Ray cluster of two nodes on this machine: a head with the learner, and a node with policy and browsers."""

    def __init__(self, name: str, event: str, *, head: bool) -> None:
        self.name, self.event, self.head = name, event, head

    def options(self, world: World) -> tuple[str, ...]:
        """Start both nodes; the run joins them."""
        self.port = free_port()
        world.variables |= {"RAY_ADDRESS": f"127.0.0.1:{self.port}", "RAY_AUTH_MODE": "token"}
        world.variables |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._up(world)
        return ("cluster.roles=true",)

    def strike(self, world: World) -> bool:
        """Kill a node with all its processes; of the head, only the GCS."""
        below = world.family.below(psutil.Process(self.nodes[0 if self.head else 1].pid))
        end(one for one in below if not self.head or one.name() == "gcs_server")
        return len(below) > 1

    def mend(self, world: World) -> None:
        """Start a new node; after the loss of the head, start a new cluster and resume."""
        if not self.head:
            time.sleep(REST_S)
            self._join(world, {"browser": 4, "policy": 2}, f"--address=127.0.0.1:{self.port}")
            self.nodes[1] = self.nodes.pop()
            return
        code = world.finish()
        assert code == 1, f"without a head the run must end in order, with exit code 1, got {code}:\n{world.said()}"
        for node in self.nodes:
            end(world.family.below(psutil.Process(node.pid)))
        self.nodes = []
        alone(world, but=RAY_AGENTS)  # agents of nodes that exited without a head
        self._up(world)
        world.start()

    def _up(self, world: World) -> None:
        head = ("--head", f"--port={self.port}", "--dashboard-port=0", f"--temp-dir={world.short_folder()}")
        self._join(world, {"learner": 2}, *head)
        self._join(world, {"browser": 4, "policy": 2}, f"--address=127.0.0.1:{self.port}")

    def _join(self, world: World, offers: dict[str, int], *how: str) -> None:
        log = world.folder / f"node-{len(self.nodes)}.log"
        self.nodes.append(start_node(world, log, *how, offers=offers))


class Service:
    """A server process that keeps its port across restarts."""

    def __init__(self, world: World, name: str, command: Callable[[str], list[str]], path: str) -> None:
        self.world, self.command, self.path, self.port = world, command, path, free_port()
        self.log, self.starting = world.folder / f"{name}.log", threading.Lock()
        self.start()

    def start(self) -> None:
        """Start the server and return once it answers."""
        with self.starting, self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(str(self.port)), cwd=ROOT, env=self._environment(), stdout=output, stderr=output
            )
            deadline = time.monotonic() + PATIENCE_S
            while not self._answers():
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < deadline, self.log.read_text()
                time.sleep(0.2)

    def kill(self) -> bool:
        """Kill the server and its children; False if it is not running."""
        if self.starting.locked() or self.process.poll() is not None:
            return False
        end(self.world.family.below(psutil.Process(self.process.pid)))
        self.process.wait()
        return True

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{self.path}", timeout=5).close()
        except OSError:
            return False
        return True

    def _environment(self) -> dict[str, str]:
        return {**self.world.environment, "PYTHONPATH": f"{ROOT}:{ROOT}/tests/support", "MLFLOW_TRACKING_URI": ""}


def alone(world: World, but: tuple[str, ...] = ()) -> None:
    """Raises AssertionError if processes of the run are left, apart from those named in `but`."""
    left = [line.strip() for line in world.family.left_behind(but=but)]
    assert not left, f"left behind: {left}"


def end(processes: Iterable[psutil.Process]) -> None:
    """Kill processes with SIGKILL; some exit when an earlier one dies."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def meanwhile(work: Callable[[], object]) -> None:
    """Repair in a thread while other victims are killed."""
    threading.Thread(target=work, daemon=True).start()


def free_port() -> int:
    """A free port."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


ALL_RESTARTED = r"lost {}.*; restarting all actors"
VICTIMS: tuple[tuple[Victim, ...], ...] = (
    (Hand("policy engine", r"^VLLM::", ALL_RESTARTED.format("policy")),),
    (
        Hand("browser actor", r"^ray::ChromiumRenderer", r"browser-0 restarted"),
        Hand("browser process", r"^\S*headless.shell (?!.*--type=)", r"browser-0: Chromium was lost"),
        JudgedHand("critic actor", r"^ray::CriticActor", r"critic-0 restarted"),
        CriticServer("critic server", "", r"critic-0: http://\S+ does not answer"),
        Hand("episode worker", r"^ray::RayEpisodeWorker", r"worker-0 restarted"),
        MlflowServer(),
    ),
    (
        Hand(
            "learner rank",
            r"^ray::LearnerRank",
            ALL_RESTARTED.format("learner-rank"),
            "learner.ranks=2",
            "learner.threads=1",
        ),
    ),
    (Nodes("a whole node", ALL_RESTARTED.format("policy"), head=False),),
    (Driver(),),
    (Disk(),),
    (Nodes("the head's GCS", Driver.event, head=True),),
)
"""Victims grouped by run; those whose loss does not restart the other actors share a run."""
