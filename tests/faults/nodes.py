"""Ray nodes that a test starts with `ray start`; each node runs as long as its process."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from world import PATIENCE_S, World

RAY = str(Path(sys.executable).parent / "ray")


def start_node(
    world: World,
    log: Path,
    *how: str,
    offers: Mapping[str, int],
    address: str = "127.0.0.1",
    cpus: int = 2,
    on: Sequence[str] = (),
) -> subprocess.Popen[bytes]:
    """Start a node and return once it is up. `on` is a prefix that runs the command on another host."""
    command = [*on, RAY, "start", "--block", f"--num-cpus={cpus}", *how]
    command += [f"--node-ip-address={address}", f"--resources={json.dumps(offers)}"]
    with log.open("wb") as output:
        node = subprocess.Popen(command, env=world.environment, stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + PATIENCE_S
    while "Ray runtime started" not in log.read_text():
        assert node.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)
    return node
