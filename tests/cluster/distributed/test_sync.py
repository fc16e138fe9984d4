"""Tests of the weight sync that the driver leads: order of calls, retries, and errors that stop the run."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest

from actors.settings import PolicySettings
from cluster.distributed.clients import LearnerClient
from cluster.distributed.launch import ActorLauncher
from cluster.distributed.pool import EngineBroadcast
from cluster.settings import ClusterSettings, RunSettings
from rollout.errors import EngineFault, LearnerFault, MachineError, SyncError
from rollout.records import Batch, Update

CANARY = (3, 4, 5)


class Remote:
    """A method of an actor with Ray's calling convention: futures among the arguments are awaited."""

    def __init__(self, method: Callable[..., Coroutine[Any, Any, Any]]) -> None:
        self.method = method

    def remote(self, *args: Any) -> asyncio.Future[Any]:
        return asyncio.ensure_future(self._call(args))

    async def _call(self, args: tuple[Any, ...]) -> Any:
        return await self.method(*[await one if isinstance(one, asyncio.Future) else one for one in args])


class Actor:
    def __getattr__(self, method: str) -> Remote:
        return Remote(getattr(self, f"_{method}"))


class Engine(Actor):
    """An engine whose weights are one number, which its log-probs equal; it fails `faults` times."""

    def __init__(self, place: int, log: list[str]) -> None:
        self.place, self.log = place, log
        self.weights, self.version, self.serves = 0.0, 0, False
        self.faults, self.bend = 0, 0.0

    async def _take(self, weights: float, version: int) -> None:
        self.serves = False
        self.log.append(f"swap {self.place}")
        if self.faults:
            self.faults -= 1
            raise EngineFault(f"policy-{self.place} is stale")
        self.weights, self.version = weights + self.bend, version

    async def _update_weights(self, blob: bytes, version: int) -> None:
        await self._take(float(blob), version)

    async def _sleep(self) -> None:
        self.log.append(f"sleep {self.place}")

    async def _wake(self) -> None:
        self.log.append(f"wake {self.place}")

    async def _prove(self, version: int, token_ids: tuple[int, ...], wanted: tuple[float, ...], most: float) -> float:
        self.log.append(f"prove {self.place}")
        assert self.version == version
        gap = max(abs(score - self.weights) for score in wanted)
        if gap > most:
            raise SyncError(f"policy-{self.place} does not hold the learner's weights")
        self.serves = True
        return gap


class Rank(Actor):
    """A learner rank whose weights and log-probs are one number."""

    def __init__(self, rank: int, log: list[str], engines: list[Engine]) -> None:
        self.rank, self.log, self.engines = rank, log, engines
        self.sent: list[tuple[Any, ...]] = []
        self.fault: MachineError | None = None

    async def _get_version(self) -> int:
        return 7

    async def _logprobs(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        if self.rank == 0:
            self.log.append("score")
        return (2.5,) * (len(token_ids) - 1)

    async def _update(self, batch: Batch) -> Update:
        if self.rank == 0:
            self.log.append("update")
        return Update(version=7, metrics={})

    async def _release_memory(self) -> None:
        if self.rank == 0:
            self.log.append("release")

    async def _weights(self) -> bytes:
        return b"2.5" if self.rank == 0 else b""

    async def _weights_size(self) -> int:
        return 3

    async def _send_weights(
        self, version: int, transfer: str, line: EngineBroadcast, workers: int, patience_s: float
    ) -> int:
        self.sent.append((version, transfer, workers, patience_s))
        if self.rank == 0:
            await asyncio.gather(*(engine._take(2.5, version) for engine in self.engines))
            if self.fault is not None:
                raise self.fault
        return 12


class IsolatedWorld:
    def __init__(self, **policy: Any) -> None:
        self.log: list[str] = []
        self.engines = [Engine(place, self.log) for place in range(2)]
        self.ranks = [Rank(rank, self.log, self.engines) for rank in range(2)]
        settings = PolicySettings(engines=2, **policy)
        self.learner = LearnerClient(
            self.ranks, self.engines, canary=CANARY, max_gap=1e-3, timeout_s=5, policy=settings
        )

    @property
    def serving(self) -> list[bool]:
        return [engine.serves for engine in self.engines]


@pytest.mark.parametrize("transfer", ["shared_memory", "nccl"])
async def test_every_engine_is_verified_after_a_sync(transfer: str) -> None:
    world = IsolatedWorld(transfer=transfer)
    sync = await world.learner.sync()
    assert (sync.version, sync.gap, sync.bytes) == (7, 0.0, 3 if transfer == "shared_memory" else 12)
    assert world.serving == [True, True]
    # The learner computes its log-probs before any engine stops generating.
    assert world.log == ["score", "swap 0", "swap 1", "prove 0", "prove 1"]


async def test_engines_sleep_during_an_update_and_wake_before_the_weights_arrive() -> None:
    world = IsolatedWorld(sleep_level=2)
    await world.learner.update(Batch(samples=()))
    assert world.log == ["sleep 0", "sleep 1", "update"]
    world.log.clear()
    await world.learner.sync()
    # The learner returns its memory before the engines take theirs.
    assert world.log == ["score", "release", "wake 0", "wake 1", "swap 0", "swap 1", "prove 0", "prove 1"]
    assert world.serving == [True, True]


async def test_engines_that_do_not_sleep_serve_during_an_update() -> None:
    world = IsolatedWorld()
    await world.learner.update(Batch(samples=()))
    assert world.log == ["update"]


class Starts(ActorLauncher):
    """A launcher that logs which pools start."""

    def __init__(self, gpus: float) -> None:
        super().__init__(RunSettings(cluster=ClusterSettings(policy_gpus=gpus, learner_gpus=gpus)))
        self.log: list[str] = []

    async def start(self, name: str, handles: Sequence[Any], method: str) -> None:
        self.log.append(f"{method} {name}")
        await asyncio.sleep(0.01)
        self.log.append(f"{name} started")


async def test_a_rank_that_shares_a_gpu_loads_before_its_engine_measures_the_free_memory() -> None:
    world = IsolatedWorld()
    shared, separate = Starts(0.5), Starts(1.0)
    await shared.start_learner(world.learner)
    assert shared.log == ["ping learner-rank", "learner-rank started", "start policy", "policy started"]
    await separate.start_learner(world.learner)
    assert separate.log[:2] == ["ping learner-rank", "start policy"]


async def test_all_ranks_take_part_in_a_broadcast() -> None:
    world = IsolatedWorld(transfer="gloo", tensor_parallel=2, call_timeout_s=9.0)
    await world.learner.sync()
    assert [rank.sent for rank in world.ranks] == [[(7, "gloo", 2, 9.0)]] * 2


@pytest.mark.parametrize("transfer", ["shared_memory", "nccl"])
async def test_failure_of_one_engine_repeats_the_sync_on_all(transfer: str) -> None:
    world = IsolatedWorld(transfer=transfer)
    world.engines[1].faults = 1
    sync = await world.learner.sync()
    assert sync.gap == 0.0
    assert world.serving == [True, True]
    assert world.log.count("swap 0") == 2
    world.engines[1].faults = 2
    with pytest.raises(EngineFault, match="policy-1 is stale"):
        await world.learner.sync()
    assert world.serving == [False, False]


async def test_canary_mismatch_stops_the_run_and_its_engine() -> None:
    world = IsolatedWorld()
    world.engines[1].bend = 0.01
    with pytest.raises(SyncError, match="policy-1 does not hold the learner's weights"):
        await world.learner.sync()
    assert world.serving == [True, False]


async def test_hung_weight_transfer_is_not_retried() -> None:
    world = IsolatedWorld(transfer="nccl")
    world.ranks[0].fault = LearnerFault("learner-rank-0: a weight transfer did not finish in 120 s")
    with pytest.raises(LearnerFault, match="did not finish"):
        await world.learner.sync()
    assert [len(rank.sent) for rank in world.ranks] == [1, 1]
    assert world.serving == [False, False]


def test_broadcast_calls_every_actor_with_its_own_arguments() -> None:
    log: list[str] = []
    engines = [Engine(place, log) for place in range(3)]
    line = EngineBroadcast("policy", engines, fault=EngineFault, timeout_s=5)
    line.ask_all("take", [(float(place), place) for place in range(3)])
    assert [engine.weights for engine in engines] == [0.0, 1.0, 2.0]
    engines[2].faults = 1
    with pytest.raises(EngineFault, match="policy-2 is stale"):
        line.ask_all("take", [(4.0, 1)] * 3)
