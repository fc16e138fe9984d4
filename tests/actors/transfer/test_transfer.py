"""Tests of weight transfer: client, source and bucket rule; then both ends, with stub engines."""

import socket
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_policy import VLLM_WARNINGS

from actors.transfer.gloo import GlooGroup, buckets
from rollout.errors import EngineFault, LearnerFault

pytestmark = VLLM_WARNINGS
Called = tuple[str, list[tuple[Any, ...]]]


class Wire:
    """Engine stubs that record their calls and fail at one method."""

    def __init__(self, num: int, fails_at: str = "") -> None:
        self.num, self.fails_at = num, fails_at
        self.calls: list[Called] = []

    def ask_all(self, method: str, arguments: list[tuple[Any, ...]]) -> None:
        self.calls.append((method, arguments))
        if method == self.fails_at:
            raise EngineFault(f"policy-1.{method}: failed")


def tensors() -> Iterator[tuple[str, torch.Tensor]]:
    """Three weights that share one buffer, as under ZeRO-3."""
    buffer = torch.empty(64)
    for place, shape in enumerate([(2, 3), (4, 4), (5,)]):
        numel = torch.Size(shape).numel()
        yield f"layer.{place}", buffer[:numel].fill_(float(place)).view(shape)


def test_engines_get_consecutive_rank_offsets() -> None:
    from actors.transfer.sender import Client

    wire = Wire(3)
    client = Client(wire, workers=2)
    client.init_weight_transfer_engine({"rank_offset": 1, "world_size": 7})
    ((method, arguments),) = wire.calls
    assert method == "connect"
    assert [info["rank_offset"] for _, info in arguments] == [1, 3, 5]
    assert {info["world_size"] for _, info in arguments} == {7}
    assert {ticket for ticket, _ in arguments} == {client.ticket}
    client.init_weight_transfer_engine({"packed": True})
    assert wire.calls[-1][1] == [(client.ticket, {"packed": True})] * 3


def test_update_carries_the_sender_version_and_pickled_handles() -> None:
    import base64
    import pickle

    from actors.transfer.sender import Client

    wire = Wire(2)
    client = Client(wire, workers=1)
    client.version = 17
    client.start_weight_update()
    client.update_weights(
        {"names": ["a"], "ipc_handles": {"GPU-1": (torch.float32, b"x")}, "ipc_handles_pickled": None}
    )
    client.finish_weight_update()
    opened, taken, closed = wire.calls
    assert (opened, closed) == (
        ("open_update", [(client.ticket, 17)] * 2),
        ("close_update", [(client.ticket, 17)] * 2),
    )
    ((_, update), _) = taken[1]
    assert update.keys() == {"names", "ipc_handles_pickled"}
    assert pickle.loads(base64.b64decode(update["ipc_handles_pickled"])) == {"GPU-1": (torch.float32, b"x")}


def test_source_yields_independent_copies_of_its_declared_tensors() -> None:
    from actors.transfer.sender import Source

    source = Source(tensors)
    assert [(meta.name, meta.dtype, meta.shape) for meta in source.metadata()] == [
        ("layer.0", torch.float32, (2, 3)),
        ("layer.1", torch.float32, (4, 4)),
        ("layer.2", torch.float32, (5,)),
    ]
    assert source.bytes == 4 * (6 + 16 + 5)
    kept = list(source)
    assert [float(tensor.sum()) for _, tensor in kept] == [0.0, 16.0, 10.0]
    assert all(tensor.is_contiguous() for _, tensor in kept)


@pytest.mark.parametrize("taken", [None, 0, 1, 3])
def test_interrupted_pass_is_finished(taken: int | None) -> None:
    from actors.transfer.sender import Source

    walked: list[str] = []

    def watched() -> Iterator[tuple[str, torch.Tensor]]:
        for name, tensor in tensors():
            walked.append(name)
            yield name, tensor

    source = Source(watched)
    for _ in range(2):
        walked.clear()
        source.begin()
        if taken is not None:
            for _, _ in zip(range(taken), source, strict=False):
                pass
        source.finish()
        assert walked == ["layer.0", "layer.1", "layer.2"]


def test_buckets_are_cut_by_size() -> None:
    sizes = [5, 5, 1, 30, 2, 2, 2]
    assert list(buckets(sizes, int, 10)) == [[5, 5, 1], [30], [2, 2, 2]]
    assert list(buckets([], int, 10)) == []


@pytest.mark.parametrize(
    ("fails_at", "wanted"),
    [("connect", EngineFault), ("open_update", EngineFault), ("receive_weights", EngineFault)],
)
def test_sender_with_failing_engines_still_finishes_the_pass(fails_at: str, wanted: type[Exception]) -> None:
    from actors.transfer.sender import Sender, Source

    passes: list[int] = []

    def counted() -> Iterator[tuple[str, torch.Tensor]]:
        num = 0
        for pair in tensors():
            num += 1
            yield pair
        passes.append(num)

    wire = Wire(0, fails_at)  # No engine: rank 0 is alone in the group and does not wait for engines.
    sender = Sender("gloo", Source(counted), wire, rank=0, host="127.0.0.1", workers=1, patience_s=20)
    with pytest.raises(wanted, match=f"the sync of version 4 failed: .*{fails_at}: failed"):
        sender.send(4)
    assert passes == [3, 3]  # one pass for the metadata, one complete pass


def test_hung_transfer_is_a_learner_fault() -> None:
    from actors.transfer.sender import Sender, Source

    release = threading.Event()

    class Deaf(Wire):
        def ask_all(self, method: str, arguments: list[tuple[Any, ...]]) -> None:
            release.wait(30)

    sender = Sender("gloo", Source(tensors), Deaf(0), rank=0, host="127.0.0.1", workers=1, patience_s=0.2)
    try:
        with pytest.raises(LearnerFault, match=r"learner-rank-0: a weight transfer did not finish in 0\.2 s"):
            sender.send(1)
    finally:
        release.set()


def test_group_creation_times_out() -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    with pytest.raises(RuntimeError):
        GlooGroup("127.0.0.1", port, 0, 2, patience_s=0.2)


class Keeper(torch.nn.Module):
    """The model of an engine worker; records loaded weights."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, torch.Tensor] = {}
        self.order: list[list[str]] = []

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        several = list(weights)
        self.kept.update({name: tensor.clone() for name, tensor in several})
        self.order.append([name for name, _ in several])


class Workers:
    """Engines with several workers each (threads here) at the receiving end of vLLM's protocol."""

    def __init__(self, folder: Path, engines: int, workers: int) -> None:
        from actors.transfer.receiver import GlooTransfer

        self.num, self.workers = engines, workers
        self.keepers = [Keeper() for _ in range(engines * workers)]
        self.versions: list[tuple[str, int]] = []
        self.fails = -1
        self.ends = []
        for place, keeper in enumerate(self.keepers):
            hf_config = SimpleNamespace(tie_word_embeddings=False)
            config = SimpleNamespace(
                parallel_config=SimpleNamespace(rank=place % workers),
                model_config=SimpleNamespace(model=str(folder), hf_config=hf_config),
            )
            self.ends.append(GlooTransfer(None, config, torch.device("cpu"), keeper))

    def ask_all(self, method: str, arguments: list[tuple[Any, ...]]) -> None:
        with ThreadPoolExecutor(len(self.ends)) as threads:
            calls = [
                threads.submit(self.call, place, method, *arguments[place // self.workers][1:])
                for place in range(len(self.ends))
            ]
            for call in calls:
                call.result()

    def call(self, place: int, method: str, argument: Any) -> None:
        end = self.ends[place]
        if method == "connect":
            end.shutdown()
            end.init_transfer_engine(end.parse_init_info(argument))
        elif method == "receive_weights":
            if place == self.fails:
                raise EngineFault(f"policy-{place}: failed")
            end.receive_weights(end.parse_update_info(argument))
        elif method == "open_update":
            end.start_weight_update()
        else:
            end.finish_weight_update()
            self.versions.append((method, argument))


def mixed() -> Iterator[tuple[str, torch.Tensor]]:
    """Weights of several types; one is larger than a bucket and one is not contiguous."""
    made = torch.Generator().manual_seed(0)
    yield "embed", torch.randn(40, 8, generator=made)
    yield "norm", torch.randn(8, generator=made).bfloat16()
    yield "proj", torch.randn(8, 6, generator=made).t()
    yield "scale", torch.randn((), generator=made)
    yield "head", torch.randn(12, 8, generator=made).bfloat16()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in mixed()}, tmp_path / "model.safetensors")
    return tmp_path


def test_every_worker_of_every_engine_receives_every_byte(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import actors.transfer.sender
    from actors.transfer.sender import Sender, Source

    monkeypatch.setattr(actors.transfer.sender, "BUCKET", 256)
    engines = Workers(checkpoint, engines=2, workers=2)
    sender = Sender("gloo", Source(mixed), engines, rank=0, host="127.0.0.1", workers=2, patience_s=30)
    for version in (1, 2):
        assert sender.send(version) == sum(tensor.nbytes for _, tensor in mixed())
    sender.close()
    assert engines.versions == [("close_update", 1)] * 4 + [("close_update", 2)] * 4
    for keeper in engines.keepers:
        assert keeper.order == [["embed"], ["norm", "proj", "scale", "head"]] * 2
        for name, tensor in mixed():
            torch.testing.assert_close(keeper.kept[name], tensor, rtol=0, atol=0)


def test_failure_of_one_worker_fails_the_sync_and_the_next_one_succeeds(checkpoint: Path) -> None:
    from actors.transfer.sender import Sender, Source

    engines, source = Workers(checkpoint, engines=3, workers=1), Source(mixed)
    engines.fails = 1
    sender = Sender("gloo", source, engines, rank=0, host="127.0.0.1", workers=1, patience_s=8)
    with pytest.raises(EngineFault, match="the sync of version 1 failed: policy-1: failed"):
        sender.send(1)
    engines.fails = -1
    Sender("gloo", source, engines, rank=0, host="127.0.0.1", workers=1, patience_s=30).send(1)
    assert [keeper.kept.keys() for keeper in engines.keepers] == [dict(mixed()).keys()] * 3


def test_ranks_that_do_not_send_take_part_in_every_pass() -> None:
    from actors.transfer.sender import Sender, Source

    passes: list[int] = []

    def counted() -> Iterator[tuple[str, torch.Tensor]]:
        yield from tensors()
        passes.append(3)

    wire = Wire(2)
    sender = Sender("gloo", Source(counted), wire, rank=1, host="127.0.0.1", workers=1, patience_s=8)
    assert sender.send(1) == sender.send(2) == 4 * (6 + 16 + 5)
    assert len(passes) == 3
    assert wire.calls == []
