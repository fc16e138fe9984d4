"""Four real episode workers and the router, on a real Ray, with actors that count their concurrent calls.

`python routed_actors.py stubs|chromium FOLDER` prints the counts. The stubs sleep for the time that a page names.
"""

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from actors.browser.renderer import ChromiumRenderer
from cluster.distributed import launch
from cluster.distributed.connection import connect
from cluster.settings import RunSettings, check_settings
from rollout.errors import MachineError
from rollout.records import Completion, Critique, Page, Render, Task, VersionSpan

WORKERS, ENGINE_LIMIT = 4, 3
SIZES = {"policy": {"engines": 2}, "browser": {"count": 4}, "critic": {"count": 2}, "cluster": {"workers": WORKERS}}


class Counting:
    """Counts its calls, and its concurrent calls."""

    now = most = 0

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def ping(self) -> None:
        pass

    async def counted(self) -> tuple[int, dict[str, int], int]:
        """The most concurrent calls and the calls by name since the last call of this method, and the process id."""
        counted = self.most, dict(self.calls), os.getpid()
        self.most, self.calls = self.now, Counter()
        return counted

    async def count(self, name: str, work: Awaitable[Any]) -> Any:
        self.calls[name] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await work
        finally:
            self.now -= 1


class Browser(Counting):
    async def render(self, page: Page, *_: object) -> Render:
        seconds, name = str(page.html).split()
        await self.count(name, asyncio.sleep(float(seconds)))
        return Render(page_sha256=page.sha256, outcome="ok")


class Engine(Counting):
    async def complete(self, request: Any) -> tuple[Completion, ...]:
        await self.count(request.messages[1].content.split()[-1], asyncio.sleep(0.1))
        spans = (VersionSpan(version=0, start=0, end=1),)
        written = Completion(prompt_ids=(1,), token_ids=(2,), logprobs=(0.0,), text="", finish="stop", versions=spans)
        return (written,)


class Critic(Counting):
    async def judge(self, *_: Any, fresh: bool) -> Critique:
        await self.count("judge", asyncio.sleep(0.1))
        return Critique(score=0.5, feedback=(), judge="stub")


class CountingChromium(ChromiumRenderer, Counting):
    """A real browser that counts its calls."""

    def __init__(self, settings: Any) -> None:
        ChromiumRenderer.__init__(self, settings, launch.put)
        Counting.__init__(self)

    async def render(self, page: Page, *args: Any) -> Render:
        render: Render = await self.count(page.sha256, ChromiumRenderer.render(self, page, *args))
        return render


class RoutedActors:
    """The launched actors by pool."""

    def __init__(self, launcher: launch.ActorLauncher) -> None:
        self.launcher = launcher
        self.handles: dict[str, list[Any]] = {}

    async def launch(self, browser: type, arguments: dict[str, Any], folder: Path) -> None:
        small, start = self.launcher.bundle("", 0.01), partial(self.launcher.launch, restarts=-1)
        self.handles["browser"] = await start("browser", browser, [arguments] * 4, small)
        self.handles["policy"] = await start("policy", Engine, [{}] * 2, small)
        self.handles["critic"] = await start("critic", Critic, [{}] * 2, small)
        self.handles["worker"], self.handles["router"] = await self.launcher.launch_workers(small, folder)
        for name, handles in self.handles.items():
            await self.launcher.start(name, handles, "start" if hasattr(handles[0], "start") else "ping")

    async def counted(self, name: str) -> list[tuple[int, dict[str, int], int]]:
        """The counts of each actor of a pool since the last call."""
        return list(await asyncio.gather(*(handle.counted.remote() for handle in self.handles[name])))

    async def render(self, worker: int, html: str) -> str:
        """Renders a page through a worker, and retries after a machine fault, as an episode does."""
        from ray.exceptions import RayError

        for _ in range(40):
            try:
                render = await self.handles["worker"][worker].render.remote(Page(html=html), (), ())
            except (MachineError, RayError):
                await asyncio.sleep(0.1)
            else:
                return str(render.outcome)
        return "lost"

    async def kill(self, name: str, place: int = 0) -> None:
        handle = self.handles[name][place]
        os.kill(await handle.__ray_call__.remote(lambda _: os.getpid()), signal.SIGKILL)

    async def leftover(self) -> dict[str, list[int]]:
        """Permits that the router still counts when no calls are in progress."""
        (router,), counts = self.handles["router"], {"none": [1]}
        for _ in range(100):
            counts = await router.__ray_call__.remote(
                lambda router: {name: permits.loads.counts for name, permits in router.permits.items()}
            )
            if not any(sum(loads) for loads in counts.values()):
                break
            await asyncio.sleep(0.1)
        return counts


async def in_peace(actors: RoutedActors) -> dict[str, Any]:
    """Without faults: idle browsers, many pages, one page for all workers, engines, critics."""
    workers, found = range(WORKERS), dict[str, Any]()
    await asyncio.gather(*(actors.render(worker, f"0.5 idle{worker}") for worker in workers))
    found["idle"] = [sum(calls.values()) for _, calls, _ in await actors.counted("browser")]
    await asyncio.gather(*(actors.render(worker, f"0.05 p{worker}-{i}") for worker in workers for i in range(12)))
    crowd = await actors.counted("browser")
    found["most"], found["pages"] = [most for most, _, _ in crowd], sum(sum(calls.values()) for _, calls, _ in crowd)
    await asyncio.gather(*(actors.render(worker, "0.2 shared") for worker in workers for _ in range(3)))
    await asyncio.gather(*(actors.render(worker, "0.2 shared") for worker in workers))
    found["shared"] = sum(calls.get("shared", 0) for _, calls, _ in await actors.counted("browser"))
    handles, page = actors.handles["worker"], Page(html="0.01 judged")
    tasks = [Task(id=str(i), brief=f"Build task{i}") for i in range(2)]
    await asyncio.gather(
        *(handle.review.remote(task, page, seed=i) for handle in handles for task in tasks for i in range(6))
    )
    found["engines"] = [(most, sum(calls.values())) for most, calls, _ in await actors.counted("policy")]
    await asyncio.gather(*(handle.judge_again.remote(tasks[0], page) for handle in handles for _ in range(6)))
    found["critics"] = [(most, sum(calls.values())) for most, calls, _ in await actors.counted("critic")]
    # One prompt after another, each through all workers: the same engine serves a prefix.
    homes = []
    for task in tasks:
        await asyncio.gather(*(handle.review.remote(task, page, seed=1) for handle in handles[:ENGINE_LIMIT]))
        homes.append([sum(calls.values()) for _, calls, _ in await actors.counted("policy")])
    found["homes"], found["leftover"] = homes, await actors.leftover()
    return found


async def under_fire(actors: RoutedActors, victim: str) -> dict[str, Any]:
    """Six pages of each worker; one actor is killed meanwhile."""
    await actors.counted("browser")
    pages = [(worker, f"0.3 {victim}{worker}-{i}") for worker in range(WORKERS) for i in range(6)]
    asked = [asyncio.create_task(actors.render(*page)) for page in pages]
    await asyncio.sleep(0.6)
    await actors.kill(victim)
    outcomes = await asyncio.gather(*asked)
    most = [most for most, _, _ in await actors.counted("browser")]
    return {"outcomes": Counter(outcomes), "most": most, "leftover": await actors.leftover()}


async def with_stubs(actors: RoutedActors) -> dict[str, Any]:
    """Runs without faults, with killed actors, and without faults again."""
    found: dict[str, Any] = {"peace": await in_peace(actors)}
    for victim in ("worker", "router", "browser"):
        found[victim] = await under_fire(actors, victim)
    found["afterwards"] = await in_peace(actors)
    return found


async def with_chromium(actors: RoutedActors) -> dict[str, Any]:
    """Renders one page for each worker and one page for all workers, in real browsers."""
    workers = range(WORKERS)
    own = [f"<!doctype html><h1>Page {worker}</h1>" for worker in workers]
    await actors.counted("browser")
    await asyncio.gather(*(actors.render(worker, html) for worker, html in enumerate(own)))
    first = [sum(calls.values()) for _, calls, _ in await actors.counted("browser")]
    shared = await asyncio.gather(*(actors.render(worker, "<!doctype html><h1>Shared</h1>") for worker in workers))
    renders = sum(sum(calls.values()) for _, calls, _ in await actors.counted("browser"))
    crowd = [actors.render(worker, f"<!doctype html><h1>{worker} {i}</h1>") for worker in workers for i in range(4)]
    await asyncio.gather(*crowd)
    most = [most for most, _, _ in await actors.counted("browser")]
    return {"idle": first, "outcomes": shared, "shared": renders, "most": most, "leftover": await actors.leftover()}


async def work(settings: RunSettings, folder: Path, browser: type, scenario: Callable[[RoutedActors], Any]) -> Any:
    launcher = launch.ActorLauncher(settings)
    try:
        actors = RoutedActors(launcher)
        await actors.launch(browser, {"settings": settings.browser} if browser is CountingChromium else {}, folder)
        return await scenario(actors)
    finally:
        await launcher.close()


def main(kind: str, folder: str) -> None:
    """Connects to Ray, runs `work` and disconnects."""
    settings = check_settings(SIZES, "the routed actors")
    pools = launch.shared_pools(settings) | {"policy": (2, ENGINE_LIMIT)}
    launch.shared_pools = lambda _: pools  # The default limit of an engine is too high for this test.
    browser, scenario = {"stubs": (Browser, with_stubs), "chromium": (CountingChromium, with_chromium)}[kind]
    connection = connect()
    try:
        print(json.dumps(asyncio.run(work(settings, Path(folder), browser, scenario))))
    finally:
        connection.leave()


if __name__ == "__main__":
    main(*sys.argv[1:])
