"""Shared fixtures. Engines are real and marked; everything else runs on the test doubles of `doubles`."""

import os
from collections.abc import Iterator

import pytest

from learner.interfaces import VARIABLES


@pytest.fixture(autouse=True)
def no_interface_is_left_chosen() -> Iterator[None]:
    """Ranks that meet in this process choose an interface for all of it; the hosts of a later test have others."""
    before = {name: os.environ.get(name) for name in VARIABLES}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
