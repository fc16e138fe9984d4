"""Ranks meet over the interface that leads to their meeting point."""

import os

import pytest

from learner.interfaces import VARIABLES, choose_interface


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


def test_the_way_to_a_neighbour_on_this_machine_is_loopback() -> None:
    assert choose_interface("tcp://127.0.0.1:29500") == "lo"
    assert [os.environ[variable] for variable in VARIABLES] == ["lo", "lo"]


def test_who_was_told_already_is_not_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    choose_interface("tcp://127.0.0.1:29500")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
