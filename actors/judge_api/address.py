"""Addresses of a judge's server: base URLs, request URLs, key headers and proxies."""

import ipaddress
import urllib.request
from urllib.parse import parse_qsl, urlsplit, urlunsplit

PATHS = ("/chat/completions", "/completions", "/models")
"""Request paths removed from the end of base URLs."""
VERSION = "api-version"
"""The query of Azure's addresses: `https://NAME.openai.azure.com/openai/deployments/MODEL?api-version=2024-10-21`."""


def normal(base_url: str) -> str:
    """The base URL without trailing slashes or request path. Raises ValueError for an unknown query parameter."""
    parts = urlsplit(base_url.strip())
    names = [name for name, _ in parse_qsl(parts.query, keep_blank_values=True)]
    if unknown := [name for name in names if name != VERSION]:
        raise ValueError(
            f"critic.base_url may have only the query parameter {VERSION!r}, got {unknown[0]!r}; put a key into the "
            "variable that critic.key_env names"
        )
    path = parts.path.rstrip("/")
    for end in PATHS:
        path = path.removesuffix(end).rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def request_url(base_url: str, path: str) -> str:
    """URL of a request. Example: `request_url("http://judge:8000/v1", "/models")`."""
    parts = urlsplit(base_url)
    return urlunsplit((parts.scheme, parts.netloc, f"{parts.path.rstrip('/')}{path}", parts.query, ""))


def key_headers(base_url: str, key: str) -> dict[str, str]:
    """HTTP headers with the key; Azure gets an additional header."""
    if not key:
        return {}
    headers = {"Authorization": f"Bearer {key}"}
    return headers | {"api-key": key} if VERSION in urlsplit(base_url).query else headers


def is_local(base_url: str) -> bool:
    """Whether the server is on this machine, unreachable through a proxy."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def proxy_words(base_url: str) -> str:
    """Hint about the environment's proxy for requests; empty for none."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    found = urllib.request.getproxies()
    proxy = found.get(parts.scheme) or found.get("all")
    if not proxy or is_local(base_url) or urllib.request.proxy_bypass(host):
        return ""
    name = f"{parts.scheme.upper()}_PROXY" if found.get(parts.scheme) else "ALL_PROXY"
    at = urlsplit(proxy if "//" in proxy else f"//{proxy}")
    shown = f"{at.hostname}:{at.port}" if at.port else at.hostname
    return f", through the proxy {shown} of {name}; name {host} in NO_PROXY to reach it directly"
