"""What the tests of the learner share: a small model in a folder, and an address where ranks meet."""

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
