"""Selects the network interface for communication between learner ranks."""

import os
import socket
from urllib.parse import urlsplit

import psutil

VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def choose_interface(init_method: str) -> str:
    """Sets the gloo and NCCL interface variables to the interface that routes to `tcp://host:port`, unless already set.

    gloo's default is the address of the hostname, often a loopback address that other machines cannot reach. Returns
    the interface name; empty if no interface has the address.
    """
    place = urlsplit(init_method)
    mine = own_address(place.hostname or "", place.port or 0)
    interfaces = psutil.net_if_addrs().items()
    name = next((name for name, addresses in interfaces if any(one.address == mine for one in addresses)), "")
    for variable in VARIABLES if name else ():
        os.environ.setdefault(variable, name)
    return name


def own_address(host: str, port: int) -> str:
    """Address of this machine on the route to `host`."""
    family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing: it only looks up the route
        return str(probe.getsockname()[0])
