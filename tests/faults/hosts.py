"""Hosts on one machine: one network namespace per host, and a router whose links to the hosts can be cut.

Requires root and the program `ip`. All interfaces are inside the namespaces.
"""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self


class NoHosts(Exception):
    """Hosts cannot be created here; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Host:
    """A network namespace with its own network."""

    name: str
    address: str
    port: str
    """The router's interface to this host."""

    def command(self, *words: str) -> list[str]:
        """A command that runs on this host."""
        return ["ip", "netns", "exec", self.name, *words]


def apart(mine: Path, shared: Path) -> tuple[str, ...]:
    """Prefix for a host's command that replaces a shared folder by the host's own folder, as on a separate disk."""
    return "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"', str(mine), str(shared)


class Hosts:
    """Hosts connected by a router; closing removes them and their interfaces."""

    def __init__(self, num: int) -> None:
        begin = f"relook-{os.getpid()}"
        self.router = f"{begin}-router"
        self.all = [
            Host(name=f"{begin}-{place}", address=f"10.77.{place}.1", port=f"port{place}") for place in range(num)
        ]

    def __enter__(self) -> Self:
        """Create the hosts; raises NoHosts."""
        if os.geteuid() != 0:
            raise NoHosts("network namespaces want root")
        if shutil.which("ip") is None:
            raise NoHosts("network namespaces want the program `ip`: apt-get install iproute2")
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self._remove()
            raise NoHosts(f"`{' '.join(error.cmd)}` failed: {error.stderr.strip()}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()

    def cut(self, host: Host) -> None:
        """Cut a host off from all other hosts; its loopback still works."""
        _do("ip", "-n", self.router, "link", "set", host.port, "down")

    def mend(self, host: Host) -> None:
        """Restore a host's link."""
        _do("ip", "-n", self.router, "link", "set", host.port, "up")

    def carried(self, host: Host) -> int:
        """Bytes sent over a host's link in both directions."""
        way = f"/sys/class/net/{host.port}/statistics"
        shown = _do("ip", "netns", "exec", self.router, "cat", f"{way}/rx_bytes", f"{way}/tx_bytes")
        return sum(map(int, shown.split()))

    def _make(self) -> None:
        for name in (self.router, *(host.name for host in self.all)):
            _do("ip", "netns", "add", name)
            _do("ip", "-n", name, "link", "set", "lo", "up")
        _do("ip", "netns", "exec", self.router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward")
        for host in self.all:
            gate = host.address.removesuffix("1") + "254"
            ends = ("eth0", "netns", host.name, "type", "veth", "peer", "name", host.port, "netns", self.router)
            _do("ip", "link", "add", *ends)
            for name, interface, address in ((host.name, "eth0", host.address), (self.router, host.port, gate)):
                _do("ip", "-n", name, "address", "add", f"{address}/24", "dev", interface)
                _do("ip", "-n", name, "link", "set", interface, "up")
            _do("ip", "-n", host.name, "route", "add", "default", "via", gate)

    def _remove(self) -> None:
        for name in (self.router, *(host.name for host in self.all)):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _do(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
