"""Chooses a package version for a request, after https://semver.org as npm's ranges use it."""

import re
from collections.abc import Iterable

Version = tuple[int, int, int]
PLAIN = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?")


def choose(wanted: str, available: Iterable[str]) -> str | None:
    """The available version for `wanted`; None if there is none.

    An exact version matches itself. Otherwise the newest version with the same major number matches, or, for major
    version 0, the nearest minor version, because minor versions are its releases. An empty request or a tag gets the
    newest.
    """
    versions = {parse(text): text for text in available}
    if not versions:
        return None
    found = PLAIN.match(re.sub(r"^[\^~>=\s]+", "", wanted))
    if found is None:  # none, a tag such as `latest`, or `*`
        return versions[max(versions)]
    asked = [int(part) for part in found.groups() if part is not None]
    exact = [version for version in versions if list(version[: len(asked)]) == asked]
    if exact:
        return versions[max(exact)]
    related = [version for version in versions if version[0] == asked[0]]
    if not related:
        return None
    if asked[0] == 0:
        minor = asked[1] if len(asked) > 1 else 0
        return versions[min(related, key=lambda version: (abs(version[1] - minor), version))]
    return versions[max(related)]


def parse(text: str) -> Version:
    """`1.4.2` as numbers, without a suffix such as `-beta`. Raises ValueError otherwise."""
    found = PLAIN.match(text)
    if found is None:
        raise ValueError(f"{text!r} is not a version, wanted numbers such as 1.4.2")
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major, minor, patch
