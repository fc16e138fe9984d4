"""Launches Ray actors, with readable names in the Ray dashboard.

Each pool gets one placement group. Actors request resources, never nodes. CapacityError names the bundle that cannot be
placed in time and the resources of the cluster.
"""

import asyncio
import hashlib
import inspect
import json
import logging
import os
import secrets
import socket
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from actors.canary import canary_sequence
from actors.settings import CriticsSettings
from cluster.distributed.bundle import Bundle
from cluster.distributed.clients import CriticClient, LearnerClient, PolicyClient, RendererClient
from cluster.distributed.pool import Pool, answer
from cluster.distributed.router import Grant, Message, RoutedPermits, Router, RouterClient
from cluster.distributed.worker import EpisodeWorker
from cluster.paths import resolve_path
from cluster.settings import RunSettings
from cluster.storage.store import Store
from reward.score import score
from rollout.errors import CapacityError, MachineError, PictureLost
from rollout.ports import EpisodeServices
from rollout.seeds import seed_of

logger = logging.getLogger(__name__)
STOP_TIMEOUT_S = 10.0
CALLS = 1024
"""Maximum calls queued in one asynchronous actor; Ray is allowed twice as many, so that pings are never blocked."""


class ActorLauncher:
    """Places, starts and stops all actors of a run."""

    def __init__(self, settings: RunSettings, *, packed: bool = True) -> None:
        self.settings, self.packed = settings, packed
        self.handles: list[Any] = []
        self.groups: list[Any] = []
        self.namespace = f"relook-{os.getpid()}-{secrets.token_hex(2)}"

    def bundle(self, role: str, cpus: float, gpus: float = 0.0) -> Bundle:
        """The resource request of a role; includes the role's custom resource only when `cluster.roles` is set."""
        resources = {role: 1.0} if role and self.settings.cluster.roles else {}
        return Bundle(cpus=cpus, gpus=gpus, resources=resources)

    async def launch(
        self,
        name: str,
        kind: type,
        arguments: Sequence[Mapping[str, Any]],
        bundle: Bundle,
        *,
        restarts: int = 0,
        group: Any = None,
    ) -> list[Any]:
        """Launches one actor per entry of `arguments` (its keyword arguments), named `name-0`, `name-1`, …

        `restarts` is how often Ray may restart a dead actor, -1 for no limit; use it for actors whose constructor
        restores all of their state. The actors get a placement group of their own unless `group` is given.
        """
        group = await self._place(name, len(arguments), bundle) if group is None else group
        return self._launch_in(name, kind, arguments, bundle, group, restarts)

    async def launch_workers(self, bundle: Bundle, path: Path) -> tuple[list[Any], list[Any]]:
        """Launches the episode workers, which write to the folder `path`, and the router if there are several."""
        num = self.settings.cluster.workers
        group = await self._place("worker", num, bundle)
        arguments = [{"namespace": self.namespace, "settings": self.settings, "path": path}] * num
        workers = await self.launch("worker", RayEpisodeWorker, arguments, bundle, restarts=-1, group=group)
        if num == 1:
            return workers, []
        pools = shared_pools(self.settings)
        timeout_s = self.settings.cluster.call_timeout_s
        router = {
            "find": partial(find_actor, self.namespace),
            "workers": num,
            "pools": pools,
            "timeout_s": timeout_s,
        }
        return workers, await self.launch("router", Router, [router], Bundle(cpus=0), restarts=-1, group=group)

    async def launch_learner(self, model: Path) -> LearnerClient:
        """Launches the learner ranks and the policy engines; neither is started yet."""
        settings = self.settings
        cluster = settings.cluster
        policy = settings.engine
        pairs = await self.place_pairs(self._engine_bundle()) if policy.transfer == "ipc" else None
        seed = seed_of(settings.seed, "engine")
        engines, followers = await self.launch_engines(model, seed, follows=True, group=pairs)
        ranks = await self.launch_ranks(model, group=pairs)
        return LearnerClient(
            ranks,
            engines,
            followers=followers,
            canary=canary_sequence(model),
            max_gap=cluster.max_logprob_gap,
            timeout_s=cluster.call_timeout_s,
            policy=policy,
        )

    async def launch_engines(
        self, model: Path, seed: int, *, follows: bool = False, group: Any = None
    ) -> tuple[list[Any], list[Any]]:
        """Launches the policy engines, and with `policy.nodes` their followers, one on each further node."""
        from actors.policy.engine import VLLMPolicy

        policy = self.settings.engine
        same = {"model_dir": str(model), "settings": policy, "seed": seed, "follows": follows}
        arguments = [same | {"rank": rank} for rank in range(policy.engines)]
        if policy.nodes == 1:
            return await self.launch("policy", VLLMPolicy, arguments, self._engine_bundle(), group=group), []
        parts = [await self._launch_parts(one) for one in arguments]
        return [part[0] for part in parts], [follower for part in parts for follower in part[1:]]

    async def _launch_parts(self, arguments: Mapping[str, Any]) -> list[Any]:
        """Launches an engine that spans nodes and its followers, no two of them on one node."""
        from actors.policy.follower import engine_parts

        name, bundle = f"policy-{arguments['rank']}", self._engine_bundle()
        group = await self._place(name, self.settings.policy.nodes, bundle, strategy="STRICT_SPREAD")
        host, port = await self._rendezvous(group, f"node 0 of {name}")
        parts = engine_parts(arguments, host, port)
        handles = [self._actor(name, i, kind, own, bundle, group, 0) for i, (name, kind, own) in enumerate(parts)]
        self.handles += handles
        return handles

    def _engine_bundle(self) -> Bundle:
        """Resources of an engine on each of its nodes."""
        cluster, nodes = self.settings.cluster, self.settings.policy.nodes
        return self.bundle("policy", cluster.policy_cpus / nodes, cluster.policy_gpus / nodes)

    async def place_pairs(self, engine: Bundle) -> Any:
        """Placement group in which engine i and learner rank i share a whole GPU."""
        rank = self._rank_bundle()
        pair = Bundle(cpus=engine.cpus + rank.cpus, gpus=1.0, resources=engine.resources | rank.resources)
        return await self._place("policy and learner-rank", self.settings.learner.ranks, pair)

    def _rank_bundle(self) -> Bundle:
        return self.bundle("learner", self.settings.cluster.learner_cpus, self.settings.cluster.learner_gpus)

    async def launch_ranks(self, model: Path, group: Any = None) -> list[Any]:
        """Launches the learner ranks, which rendezvous at an address on rank 0's node."""
        from actors.learner.rank import LearnerRank

        num = self.settings.learner.ranks
        bundle = self._rank_bundle()
        group = await self._place("learner-rank", num, bundle) if group is None else group
        host, port = await self._rendezvous(group, "a learner rank's node")
        same = {
            "model": str(model),
            "settings": self.settings.learner,
            "world_size": num,
            "init_method": f"tcp://{host}:{port}",
            "temperature": self.settings.episode.temperature,
            "packed": self.packed,
            "template_arguments": self.settings.policy.template_arguments,
        }
        arguments = [same | {"rank": rank} for rank in range(num)]
        return self._launch_in("learner-rank", LearnerRank, arguments, bundle, group, 0)

    async def launch_critics(self, bundle: Bundle, costs: Path) -> list[Any]:
        """Launches the critics; caches model answers under `settings.cache`, records their costs in `costs`."""
        from actors.critic.ensemble import CriticActor

        critic = self.settings.critic
        cache = resolve_path(self.settings.cache) / "judgments"
        served = self.settings.served_judge
        if served.model:  # The served name does not identify the model.
            cache /= hashlib.sha256(served.model.encode()).hexdigest()[:16]
        same = {"settings": critic, "fetch": fetch, "cache": cache}
        arguments = [
            same | {"ledger": costs / f"critic-{place}.json", "find": self._judge_finder(place)}
            for place in range(critic.count)
        ]
        return await self.launch("critic", CriticActor, arguments, bundle, restarts=-1)

    async def launch_judges(self, folder: Path) -> list[Any]:
        """Launches the judge servers, if the run has any; their logs are in `folder`."""
        from cluster.distributed.judge_servers import RayJudge

        settings, cluster = self.settings, self.settings.cluster
        judge = settings.served_judge
        if not judge.model:
            return []
        bundle = self.bundle("judge", cluster.judge_cpus, cluster.judge_gpus)
        logs = [folder / f"judge-{place}.log" for place in range(judge.count)]
        arguments = [{"settings": judge, "name": settings.critic.served_as, "log": log} for log in logs]
        return await self.launch("judge", RayJudge, arguments, bundle, restarts=-1)

    def _judge_finder(self, place: int) -> Any:
        """A function that finds a critic's judge by name, as a judge may move; None when the run serves no judge."""
        from cluster.distributed.judge_servers import find_judge

        judge = self.settings.judge
        return partial(find_judge, f"judge-{place % judge.count}", self.namespace) if judge.model else None

    async def start(self, name: str, handles: Sequence[Any], method: str) -> None:
        """Starts the actors of one pool concurrently. Raises MachineError when one cannot start."""
        pool = Pool(name, handles, fault=MachineError, timeout_s=self.settings.cluster.start_timeout_s, limit=1)
        await pool.ask_all(method)

    async def start_learner(self, learner: LearnerClient) -> None:
        """Starts the learner ranks and the engines of a client. Raises MachineError.

        An engine that starts measures the free memory of its GPU: a rank that shares it must have loaded before.
        """
        ranks = ("learner-rank", learner.ranks.handles, "ping")
        engines = ("policy", learner.engines.handles, "start")
        followers = ("policy-node", learner.followers.handles, "start")
        if self.settings.shares_gpus:
            await self.start_in_order(ranks, engines)
        else:
            await asyncio.gather(self.start(*ranks), self.start(*engines), self.start(*followers))

    async def start_in_order(self, *pools: tuple[str, Sequence[Any], str]) -> None:
        """Starts pools one after another, each needing the one before."""
        for name, handles, method in pools:
            await self.start(name, handles, method)

    async def close(self) -> None:
        """Calls `stop` on every actor that has it, then kills all actors and removes their placement groups."""
        import ray

        stopping = [handle.stop.remote() for handle in self.handles if hasattr(handle, "stop")]
        if stopping:
            await asyncio.to_thread(ray.wait, stopping, num_returns=len(stopping), timeout=STOP_TIMEOUT_S)
        for handle in self.handles:
            ray.kill(handle)
        for group in self.groups:
            ray.util.remove_placement_group(group)
        self.handles = []
        self.groups = []

    async def _place(self, name: str, num: int, bundle: Bundle, strategy: str = "PACK") -> Any:
        import ray

        group = ray.util.placement_group([bundle.request] * num, strategy=strategy, name=name)
        self.groups.append(group)
        timeout_s = self.settings.cluster.placement_timeout_s
        if not await asyncio.to_thread(group.wait, timeout_s):
            asked = json.dumps(bundle.request) + (" on different nodes" if strategy == "STRICT_SPREAD" else "")
            has = json.dumps(ray.cluster_resources())
            raise CapacityError(
                f"{num} × {asked} for {name!r} cannot be placed within {timeout_s:.0f} s; the cluster has {has}, "
                f"free are {json.dumps(ray.available_resources())}; request less in [cluster], or add nodes"
            )
        return group

    def _launch_in(
        self, name: str, kind: type, arguments: Sequence[Mapping[str, Any]], bundle: Bundle, group: Any, restarts: int
    ) -> list[Any]:
        handles = [
            self._actor(f"{name}-{i}", i, kind, args, bundle, group, restarts) for i, args in enumerate(arguments)
        ]
        self.handles += handles
        return handles

    def _actor(
        self, name: str, place: int, kind: type, args: Mapping[str, Any], bundle: Bundle, group: Any, restarts: int
    ) -> Any:
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        return (
            ray.remote(kind)
            .options(
                name=name,
                namespace=self.namespace,
                num_cpus=bundle.cpus,
                num_gpus=bundle.gpus,
                resources=bundle.resources,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=place),
                max_restarts=restarts,
                max_concurrency=2 * CALLS if _is_asynchronous(kind) else None,
            )
            .remote(**args)
        )

    async def _rendezvous(self, group: Any, where: str) -> tuple[str, int]:
        """Address and a free port of the node of a group's first bundle."""
        import ray
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        task = ray.remote(_free_port).options(num_cpus=0, scheduling_strategy=strategy)
        host, port = await answer(task.remote(), where, MachineError, self.settings.cluster.start_timeout_s)
        return str(host), int(port)


class RayEpisodeWorker(EpisodeWorker):
    """Episode worker whose policy, renderer and critic are pools of actors shared with other workers."""

    def __init__(self, namespace: str, settings: RunSettings, path: Path) -> None:
        """Finds the other actors by name: handles passed as arguments would not survive a restart of this actor."""
        find = partial(find_actor, namespace)
        timeout_s = settings.cluster.call_timeout_s
        self.router = RouterClient(timeout_s) if settings.cluster.workers > 1 else None

        def pool(name: str) -> dict[str, Any]:
            num, _ = shared_pools(settings)[name]
            permits = RoutedPermits(self.router, name) if self.router else None
            return {"handles": [find(f"{name}-{i}") for i in range(num)], "permits": permits, "timeout_s": timeout_s}

        renderer = RendererClient(**pool("browser"), find_worker=lambda number: find(f"worker-{number}"))
        services = EpisodeServices(
            policy=PolicyClient(**pool("policy"), limit=CALLS),
            renderer=renderer,
            critic=CriticClient(**pool("critic"), limit=critics_at_once(settings.critic), lost=renderer.forget),
            score=partial(score, settings=settings.score),
        )
        super().__init__(services, settings.episode, Store(path), fetch)

    async def exchange(self, session: str, grants: list[Grant]) -> list[Message]:
        """See `cluster.distributed.router.RouterClient`."""
        assert self.router is not None, "only several workers have a router"
        return await self.router.exchange(session, grants)

    async def grant(self, session: str, grants: list[Grant]) -> None:
        """See `cluster.distributed.router.RouterClient`."""
        assert self.router is not None, "only several workers have a router"
        await self.router.grant(session, grants)


def shared_pools(settings: RunSettings) -> dict[str, tuple[int, int]]:
    """The pools shared by all workers: number of actors and maximum concurrent calls per actor."""
    return {
        "policy": (settings.policy.engines, CALLS),
        "browser": (settings.browser.count, 1),
        "critic": (settings.critic.count, critics_at_once(settings.critic)),
    }


def find_actor(namespace: str, name: str) -> Any:
    """The actor of this name. Raises MachineError when it does not exist."""
    import ray

    try:
        return ray.get_actor(name, namespace)
    except ValueError as error:
        raise MachineError(f"there is no actor {name}: {str(error).partition('.')[0]}") from error


def critics_at_once(settings: CriticsSettings) -> int:
    """Concurrent calls allowed per critic: `4 * at_once` if a member calls an HTTP judge, else 2."""
    asks = any(judge.kind == "http" for judge in settings.members.values())
    return 4 * settings.at_once if asks else 2


def put(png: bytes) -> Any:
    """Puts a screenshot into the Ray object store and returns the reference for its record."""
    import ray

    return ray.put(png)


def fetch(picture: Any) -> bytes:
    """Reads a screenshot from the Ray object store. Raises PictureLost when its node or owner is gone."""
    import ray
    from ray.exceptions import GetTimeoutError, ObjectLostError, OwnerDiedError

    if isinstance(picture, bytes):
        return picture
    try:
        return bytes(ray.get(picture, timeout=60))
    except (ObjectLostError, OwnerDiedError, GetTimeoutError) as error:
        raise PictureLost(f"a screenshot was lost with its browser: {type(error).__name__}") from error


def _is_asynchronous(kind: type) -> bool:
    return any(inspect.iscoroutinefunction(method) for _, method in inspect.getmembers(kind, inspect.isfunction))


def _free_port() -> tuple[str, int]:
    import ray

    with socket.socket() as listener:
        listener.bind(("", 0))
        return ray.util.get_node_ip_address(), listener.getsockname()[1]
