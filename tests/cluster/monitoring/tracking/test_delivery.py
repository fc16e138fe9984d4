"""Tests of deliveries to an MLflow server that fails."""

from cluster.monitoring.tracking.delivery import Delivery


class Server:
    """A server that refuses its first calls."""

    def __init__(self, refused: int) -> None:
        self.refused = refused
        self.calls: list[str] = []

    def take(self, value: str) -> None:
        """Accept a value, or raise while there are calls to refuse."""
        self.calls.append(value)
        if len(self.calls) <= self.refused:
            raise OSError("away")


def test_failed_call_pauses_the_next_ones_but_not_the_last_of_a_run() -> None:
    notes: list[str] = []
    server = Server(refused=1)
    delivery = Delivery((OSError,), notes.append)
    assert not delivery.send(server.take, "metrics")
    assert not delivery.send(server.take, "picture")
    assert server.calls == ["metrics"]
    assert delivery.send_now(server.take, "end")
    assert server.calls == ["metrics", "end"]
    assert notes[0] == "MLflow did not accept take (away); the run's own files have it"
    assert notes[1].startswith("MLflow accepts data again after")


def test_reach_repeats_a_call_until_the_server_answers() -> None:
    server = Server(refused=2)
    delivery = Delivery((OSError,), lambda note: None)
    assert not delivery.send(server.take, "a")
    delivery.reach(server.take, "b")
    assert server.calls == ["a", "b", "b"]
