"""Who is killed: each with its run's settings, how it is struck, how its surroundings mend it, and the event due."""

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
"""Until whoever runs a server or a node has noticed, and starts it again."""
DISK_MB = 512
RAY_AGENTS = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")
"""Two of Ray's own, who go on trying for a minute to report to a GCS that died with its driver, and then end."""
HTTP_CRITIC = ("critic.kind=http", "critic.model=judge", "critic.answer_format=json_schema", "critic.in_flight=4")


class Victim(Protocol):
    """One row of the matrix."""

    name: str
    event: str
    """What the report must say, as a pattern."""

    def options(self, world: World) -> tuple[str, ...]:
        """Settings of its run; starts what the run needs around it."""
        ...

    def strike(self, world: World) -> bool:
        """Kills it with -9; False when it is not there to be killed."""
        ...

    def mend(self, world: World) -> None:
        """What the system leaves to its surroundings."""
        ...


class Hand:
    """A process that the run itself must make again: one whose command line matches."""

    def __init__(self, name: str, pattern: str, event: str, *options: str) -> None:
        self.name, self.pattern, self.event = name, re.compile(pattern), event
        self._options, self._struck = options, 0

    def options(self, world: World) -> tuple[str, ...]:
        """Those it was made with."""
        return self._options

    def strike(self, world: World) -> bool:
        """The oldest of its kind, once the run has missed the one before."""
        if len(re.findall(self.event, world.log.read_text(errors="replace"))) < self._struck:
            return False
        found = [one for one, line in world.family.members().items() if self.pattern.search(line)]
        end(found[:1])
        self._struck += bool(found)
        return bool(found)

    def mend(self, world: World) -> None:
        """Nobody helps."""


class JudgedHand(Hand):
    """The same in a run whose critic asks a server."""

    judge: "Service"

    def options(self, world: World) -> tuple[str, ...]:
        """Starts the server, unless another victim of this world did."""
        if "judge" not in world.services:
            command = [sys.executable, "tests/faults/judge.py"]
            world.services["judge"] = Service(world, "judge", lambda port: [*command, port], "v1/models")
        self.judge = world.services["judge"]
        # Judgments are remembered between runs by the judge's name, and would not be asked for.
        name = f"critic.model=judge-{secrets.token_hex(4)}"
        return (*HTTP_CRITIC, name, f"critic.base_url=http://127.0.0.1:{self.judge.port}/v1", *self._options)


class CriticServer(JudgedHand):
    """The server that judges; whoever runs it starts it again."""

    def strike(self, world: World) -> bool:
        """The server and its children."""
        return self.judge.kill()

    def mend(self, world: World) -> None:
        """On the same port."""
        meanwhile(lambda: (time.sleep(REST_S), self.judge.start()))


class MlflowServer:
    """The tracking server; whoever runs it starts it again."""

    name = "MLflow server"
    event = r"MLflow did not take"

    def options(self, world: World) -> tuple[str, ...]:
        """Starts the server with a database of its own."""
        store = f"sqlite:///{world.folder}/server.db"
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--workers", "1"]
        command += ["--artifacts-destination", str(world.folder / "artifacts"), "--port"]
        self.server = Service(world, "mlflow", lambda port: [*command, port], "health")
        world.variables["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{self.server.port}"
        return ()

    def strike(self, world: World) -> bool:
        """The server and its workers."""
        return self.server.kill()

    def mend(self, world: World) -> None:
        """On the same port, but not before it was missed or the run waits for it at its end."""

        def missed() -> bool:
            said = world.log.read_text(errors="replace")
            return said.count("MLflow did not take") > said.count("MLflow takes deliveries again")

        meanwhile(lambda: (world.wait_for(missed, "MLflow to be missed"), self.server.start()))


class Driver:
    """The process that drives the run, and with it a Ray cluster that it started."""

    name = "driver"
    event = r"resumed after step \d"

    def options(self, world: World) -> tuple[str, ...]:
        """None."""
        return ()

    def strike(self, world: World) -> bool:
        """The driver alone: the others must see for themselves that they are not needed any more."""
        world.driver.kill()
        return True

    def mend(self, world: World) -> None:
        """A person resumes, once nothing is left of the first but two who report to Ray."""
        assert world.process is not None
        world.process.wait()
        alone(world, but=RAY_AGENTS)
        world.start()


class Disk:
    """The space for runs: a small disk of its own, which wants root to be made."""

    name = "the disk's space"
    event = Driver.event

    def options(self, world: World) -> tuple[str, ...]:
        """Puts the runs there."""
        place = world.place = world.folder / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "relook", str(place)]
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
        assert made.returncode == 0, made.stderr
        atexit.register(subprocess.run, ["umount", "--lazy", str(place)], check=False)
        return (f"runs={place}",)

    def strike(self, world: World) -> bool:
        """Somebody else fills it."""
        with (world.place / "filled").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(2**16)):
                continue
        return shutil.disk_usage(world.place).free < 2**16

    def mend(self, world: World) -> None:
        """The run ends in order; a person makes room, and resumes. One that had nothing left to write has finished."""
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
    """A Ray cluster of two nodes on this machine: a head that learns, and a node that writes and shows pages."""

    def __init__(self, name: str, event: str, *, head: bool) -> None:
        self.name, self.event, self.head = name, event, head

    def options(self, world: World) -> tuple[str, ...]:
        """Starts both nodes; the run joins them."""
        self.port = free_port()
        world.variables |= {"RAY_ADDRESS": f"127.0.0.1:{self.port}", "RAY_AUTH_MODE": "token"}
        world.variables |= {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._up(world)
        return ("cluster.roles=true",)

    def strike(self, world: World) -> bool:
        """A node with all that runs there; of the head, the process that knows where everybody is."""
        below = world.family.below(psutil.Process(self.nodes[0 if self.head else 1].pid))
        end(one for one in below if not self.head or one.name() == "gcs_server")
        return len(below) > 1

    def mend(self, world: World) -> None:
        """A new node like the old one; a new head takes a resumed run."""
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
        alone(world, but=RAY_AGENTS)  # of nodes that ended because nobody headed them
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
    """A server in a process of its own, on a port that it keeps over its deaths."""

    def __init__(self, world: World, name: str, command: Callable[[str], list[str]], path: str) -> None:
        self.world, self.command, self.path, self.port = world, command, path, free_port()
        self.log, self.starting = world.folder / f"{name}.log", threading.Lock()
        self.start()

    def start(self) -> None:
        """Returns once it answers."""
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
        """It and its children; False when it is not there."""
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
    """Raises AssertionError when anybody is left, `but` for some by name."""
    left = [line.strip() for line in world.family.left_behind(but=but)]
    assert not left, f"left behind: {left}"


def end(processes: Iterable[psutil.Process]) -> None:
    """Kills them with -9; some end by themselves when those before them have."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def meanwhile(work: Callable[[], object]) -> None:
    """Others are killed while this one is mended."""
    threading.Thread(target=work, daemon=True).start()


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


NEW_CREW = r"lost {}.*; a new crew goes on"
VICTIMS: tuple[tuple[Victim, ...], ...] = (
    (Hand("policy engine", r"^VLLM::", NEW_CREW.format("policy")),),
    (
        Hand("browser actor", r"^ray::ChromiumRenderer", r"browser-0 was made again"),
        Hand("browser process", r"^\S*headless.shell (?!.*--type=)", r"browser-0: Chromium was lost"),
        JudgedHand("critic actor", r"^ray::CriticActor", r"critic-0 was made again"),
        CriticServer("critic server", "", r"critic-0: http://\S+ does not answer"),
        Hand("episode worker", r"^ray::RayEpisodeWorker", r"worker-0 was made again"),
        MlflowServer(),
    ),
    (
        Hand(
            "learner rank",
            r"^ray::LearnerRank",
            NEW_CREW.format("learner-rank"),
            "learner.ranks=2",
            "learner.threads=1",
        ),
    ),
    (Nodes("a whole node", NEW_CREW.format("policy"), head=False),),
    (Driver(),),
    (Disk(),),
    (Nodes("the head's GCS", Driver.event, head=True),),
)
"""Who is killed in one run: those share one whose loss costs no new crew."""
