"""Checks the Host header of requests to a server on this machine.

A page elsewhere could have its own name resolve to this machine (DNS rebinding) and read the answers; its requests then
name its own host.
"""

from collections.abc import Container
from ipaddress import ip_address
from urllib.parse import urlsplit


def names_server(host: str, names: Container[str]) -> bool:
    """Whether a Host header has one of the server's names, in lower case, or any IP address."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return False
    return name in names or _is_ip(name)


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
