"""Which network interface the ranks of a learner meet over: the one that leads to their meeting point."""

import os
import socket
from urllib.parse import urlsplit

import psutil

VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


def choose_interface(init_method: str) -> str:
    """Tells gloo and NCCL to use the interface that leads to `tcp://host:port`, unless they are told already.

    Left to itself gloo takes the address of this machine's name, which on many machines is a loopback that no other
    machine can reach. Returns the interface's name, empty where no interface has the address.
    """
    place = urlsplit(init_method)
    family, kind, _, _, address = socket.getaddrinfo(place.hostname, place.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind) as probe:
        probe.connect(address)  # sends nothing: it only asks which way leads there
        mine = probe.getsockname()[0]
    interfaces = psutil.net_if_addrs().items()
    name = next((name for name, addresses in interfaces if any(one.address == mine for one in addresses)), "")
    for variable in VARIABLES if name else ():
        os.environ.setdefault(variable, name)
    return name
