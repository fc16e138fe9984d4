"""Tests of the choice of the network interface that leads to the rendezvous address."""

import os

import pytest

from learner.interfaces import VARIABLES, choose_interface


@pytest.fixture(autouse=True)
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES:
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)


def test_loopback_is_chosen_for_an_address_on_this_machine() -> None:
    assert choose_interface("tcp://127.0.0.1:29500") == "lo"
    assert [os.environ[variable] for variable in VARIABLES] == ["lo", "lo"]


def test_existing_interface_variable_is_not_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "eth7")
    choose_interface("tcp://127.0.0.1:29500")
    assert os.environ["GLOO_SOCKET_IFNAME"] == "eth7"
