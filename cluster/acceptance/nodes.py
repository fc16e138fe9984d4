"""Every node of the cluster: driver, GPUs, memory, shared memory, clock, Chromium, and files seen the same by all."""

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cluster.acceptance.measurement import Measurement, failed, worst
from cluster.distributed.nodes import Node, ask_nodes, clock_difference_s
from cluster.paths import resolve_path
from cluster.preflight import machine
from cluster.preflight.machine import GPU, CheckResult
from cluster.settings import RunSettings
from rollout.errors import MachineError

MAX_CLOCK_S = 1.0
"""Largest clock difference of two nodes; logs, events and traces of more are in the wrong order."""
NODE_TIMEOUT_S = 300.0
"""Timeout of one node's checks: Ray starts a process there, then Chromium starts."""
LISTING_WAITS_S = (1.0, 10.0, 60.0)
"""Waits before a node's listing is read again: NFS clients cache listings for up to a minute."""
SHM_GIB = 2.0
"""Free shared memory that a node needs besides weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Facts of one node, gathered on it."""

    gpus: tuple[GPU, ...]
    checks: tuple[CheckResult, ...]
    model: str
    """Digest of the model directory's file names, sizes and configuration; empty without a directory."""


def gather_facts(settings: RunSettings, *, browser: bool, token: Path | None) -> NodeFacts:
    """Runs on a node: its facts. Writes the file `token`, which the other nodes must see.

    `browser`: whether the node runs browsers. `token` is None for a node without shared storage.
    """
    from cluster.doctor import check_browser

    checks: list[Callable[[], CheckResult]] = [
        machine.check_python,
        machine.check_memory,
        lambda: machine.check_shm(Path("/dev/shm"), SHM_GIB),
    ]
    if browser:
        checks += [machine.check_fonts, machine.check_sandbox, lambda: check_browser(settings)]
    model = ""
    if token is not None:
        checks.append(partial(_write_token, token))
        model = "" if settings.model == "builtin" else model_digest(resolve_path(settings.model))
    return NodeFacts(gpus=machine.list_gpus(), checks=tuple(check() for check in checks), model=model)


def model_digest(model: Path) -> str:
    """Digest of a model directory: names and sizes of its files, and its configuration; empty if it is not readable."""
    try:
        files = sorted((path.name, path.stat().st_size) for path in model.iterdir() if path.is_file())
        config = (model / "config.json").read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(json.dumps(files).encode() + config).hexdigest()[:16]


def seen_tokens(folder: Path) -> tuple[str, ...]:
    """Runs on a node: names of the token files that it sees."""
    try:
        return tuple(sorted(path.name for path in folder.iterdir()))
    except OSError:
        return ()


async def measure_nodes(settings: RunSettings, nodes: list[Node], folder: Path) -> list[Measurement]:
    """Measures every node; token files are written to `folder`, which all nodes must share."""
    sharing = [node for node in nodes if has_storage(node)]
    tokens = {node.id: folder / f"{place:03}-{node.host}" for place, node in enumerate(sharing)}
    asked = {
        node.id: (settings, "browser" in node.resources or not settings.cluster.roles, tokens.get(node.id))
        for node in nodes
    }
    facts = await ask_nodes(nodes, _gather, asked, NODE_TIMEOUT_S)
    storage = await _measure_storage(sharing, [path.name for path in tokens.values()], folder)
    found: list[Measurement] = []
    answered: dict[str, NodeFacts] = {}
    for node in nodes:
        result = facts[node.id]
        if isinstance(result, MachineError):
            found.append(failed(f"node {node.host}", result))
            continue
        answered[node.host] = result
        found.append(judge_checks(node.host, result))
        found.append(await _clock(node))
    return [
        summary(answered, len(nodes)),
        *found,
        *judge_drivers(answered),
        *judge_model({node.host: answered[node.host] for node in sharing if node.host in answered}),
        storage,
    ]


async def _measure_storage(nodes: list[Node], tokens: Sequence[str], folder: Path) -> Measurement:
    """The measurement of the shared storage, repeated while a node may still have an old listing in its cache."""
    for wait_s in (*LISTING_WAITS_S, None):
        seen = await ask_nodes(nodes, seen_tokens, {node.id: (folder,) for node in nodes}, NODE_TIMEOUT_S)
        found = judge_storage({node.host: seen[node.id] for node in nodes}, tokens, folder)
        if found.verdict == "ok" or wait_s is None:
            break
        await asyncio.sleep(wait_s)
    return found


def has_storage(node: Node) -> bool:
    """Whether a node must see the run's files: all nodes but those that offer no CPU, which only run browsers."""
    return node.resources.get("CPU", 0.0) > 0


def summary(facts: Mapping[str, NodeFacts], num: int) -> Measurement:
    """The nodes that answered, with their GPUs."""
    gpus = Counter(f"{gpu.name} {gpu.gib:.0f} GiB" for one in facts.values() for gpu in one.gpus)
    words = ", ".join(f"{count} × {name}" for name, count in gpus.items()) or "no GPU: everything runs on the CPU"
    return Measurement(
        what="nodes that answer",
        figure=len(facts),
        unit=f"of {num}",
        expected="all",
        verdict="ok" if len(facts) == num else "wrong",
        advice=words,
    )


def judge_drivers(facts: Mapping[str, NodeFacts]) -> list[Measurement]:
    """One measurement of the GPU drivers' versions; none without GPUs."""
    versions = {host: {gpu.driver for gpu in one.gpus} for host, one in facts.items() if one.gpus}
    known = sorted(set().union(*versions.values())) if versions else []
    if not known:
        return []
    return [
        Measurement(
            what="GPU driver versions",
            figure=len(known),
            unit="",
            expected="one version on all nodes",
            verdict="ok" if len(known) == 1 else "slow",
            advice=known[0] if len(known) == 1 else f"versions {', '.join(known)}: install one on all nodes",
        )
    ]


def judge_model(facts: Mapping[str, NodeFacts]) -> list[Measurement]:
    """One measurement of the model directory on the nodes; none for the built-in policy."""
    digests = {host: one.model for host, one in facts.items()}
    if not any(digests.values()):
        return []
    common = Counter(digest for digest in digests.values() if digest).most_common(1)[0][0]
    other = [host for host, digest in digests.items() if digest != common]
    return [
        _all_nodes(
            "nodes with the same model files",
            len(digests),
            other,
            "has other files or none: put the model on shared storage",
        )
    ]


def judge_storage(seen: Mapping[str, object], tokens: Sequence[str], folder: Path) -> Measurement:
    """Compares the token files that each node sees with those that were written; a node may map to its fault."""
    blind = [host for host, names in seen.items() if not isinstance(names, tuple) or not set(tokens) <= set(names)]
    advice = f"does not see {folder}: set `runs` to shared storage"
    return _all_nodes("nodes that see all files", len(seen), blind, advice)


def _all_nodes(what: str, nodes: int, failing: Sequence[str], advice: str) -> Measurement:
    """A measurement that all nodes must pass; `advice` follows the name of the first that fails."""
    return Measurement(
        what=what,
        figure=nodes - len(failing),
        unit=f"of {nodes}",
        expected="all",
        verdict="wrong" if failing else "ok",
        advice=f"{failing[0]} {advice}" if failing else "",
    )


def judge_checks(host: str, facts: NodeFacts) -> Measurement:
    """The measurement of a node's checks: the findings with their fixes, or the node's equipment."""
    failing = [check for check in facts.checks if check.status != "ok"]
    driver = f"driver {facts.gpus[0].driver}" if facts.gpus else "no GPU"
    has = [driver, *(f"{check.what} {check.detail}" for check in facts.checks if check.status == "ok")]
    return Measurement(
        what=f"node {host}",
        figure=len(facts.checks) - len(failing),
        unit=f"of {len(facts.checks)} checks",
        expected="all",
        verdict=worst(["wrong" if check.status == "FAIL" else "slow" for check in failing]),
        advice="; ".join([f"{check.what}: {check.detail} ({check.fix})" for check in failing] or has),
    )


def judge_clock(host: str, difference_s: float, error_s: float) -> Measurement:
    """The measurement of a node's clock: its difference from the driver's, with the error of the measurement."""
    far = abs(difference_s) - error_s > MAX_CLOCK_S
    return Measurement(
        what=f"clock of {host}",
        figure=difference_s,
        unit="s ahead",
        expected=f"within {MAX_CLOCK_S:g} s of the driver's, ± {error_s:.2g} s",
        verdict="wrong" if far else "ok",
        advice="synchronise the clocks, for example with chrony" if far else "",
    )


async def _clock(node: Node) -> Measurement:
    try:
        difference_s, error_s = await clock_difference_s(node, NODE_TIMEOUT_S)
    except MachineError as fault:
        return failed(f"clock of {node.host}", fault)
    return judge_clock(node.host, difference_s, error_s)


def _gather(settings: RunSettings, browser: bool, token: Path | None) -> NodeFacts:
    return gather_facts(settings, browser=browser, token=token)


def _write_token(token: Path) -> CheckResult:
    try:
        token.parent.mkdir(parents=True, exist_ok=True)
        token.touch()
    except OSError as error:
        fix = "set `runs` to storage that all nodes can write"
        return CheckResult(what="storage", status="FAIL", detail=f"{token.parent}: {error.strerror}", fix=fix)
    return CheckResult(what="storage", status="ok", detail=str(token.parent))
