"""Local inference: one policy engine, one browser and one critic in this process, without Ray."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.paths import resolve_path
from cluster.settings import RunSettings, apply_override, check_settings, load_settings
from cluster.storage.store import Store
from rollout.errors import CheckpointError
from rollout.ports import Policy, Renderer


@dataclass(frozen=True, kw_only=True)
class Tools:
    """The policy and the renderer for critic-free inference."""

    policy: Policy
    renderer: Renderer


@asynccontextmanager
async def tools(settings: RunSettings, model: Path) -> AsyncIterator[Tools]:
    """Starts a policy engine and a browser, and stops both on exit."""
    from actors.browser.renderer import ChromiumRenderer
    from actors.policy.engine import VLLMPolicy

    policy = VLLMPolicy(str(model), settings.policy, seed=settings.seed)
    renderer = ChromiumRenderer(settings.renderer, cache=resolve_path(settings.cache) / "renders")
    try:
        await asyncio.gather(policy.start(), renderer.start())
        yield Tools(policy=policy, renderer=renderer)
    finally:
        await asyncio.gather(policy.stop(), renderer.stop())


def champion_of(runs: Path, run: str | None) -> Path:
    """The folder of a run with a champion: the given run, or that of the newest champion. Raises CheckpointError."""
    wanted = [runs / run, Path(run)] if run else sorted(runs.glob("*/"), key=lambda path: path.name, reverse=True)
    finished = [path for path in wanted if (path / "champion" / "config.json").is_file()]
    if run is None:
        finished.sort(key=lambda path: (path / "champion" / "config.json").stat().st_mtime, reverse=True)
    if not finished:
        raise CheckpointError(f"no champion of {run or 'any run'} under {runs}; train one first: make demo")
    return finished[0].resolve()


def settings_of(run: Path | None, file: Path | None, overrides: Sequence[str]) -> RunSettings:
    """The settings of a file, or else of a run, or else the defaults; with overrides. Raises BadInput."""
    if file is not None:
        return load_settings(file, overrides)
    values: dict[str, Any] = {}
    where = "settings"
    if run is not None:
        where = str(run / "run.json")
        values = Store(run).read_json("run.json")["settings"]
    for override in overrides:
        apply_override(values, override)
    return check_settings(values, where)


@asynccontextmanager
async def launched_critic(settings: RunSettings) -> AsyncIterator[Any]:
    """The critic of the settings in this process, without cache, and its judge server if the run serves one."""
    from actors.critic.ensemble import CriticActor
    from actors.judge.server import served

    log = resolve_path(settings.cache) / "judge.log"
    async with served(settings.served_judge, settings.critic.served_as, log) as find:
        critic = CriticActor(settings.critic, find=find)
        try:
            yield critic
        finally:
            await critic.stop()
