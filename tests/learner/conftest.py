"""Fixtures of the learner's tests: a small model in a folder, and a rendezvous address for ranks."""

from pathlib import Path

import pytest
from tiny_batches import address
from tiny_model import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(folder)
    return folder


@pytest.fixture(scope="module")
def meeting() -> str:
    return address()
