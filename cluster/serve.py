"""Serves a champion to browsers and programs: `python -m cluster.serve [--run RUN | --model DIR]`.

The page writes a page for a brief while one watches. The API has chat completions in the form of OpenAI's, and renders
and judges pages for the rewards of other trainers (`docs/environment.md`). Exit code 2 for unusable input, 1 when
actors cannot start, 130 when Ctrl-C or SIGTERM stopped the server.
"""

import argparse
import asyncio
import logging
import os
import socket
import sys
from functools import partial
from pathlib import Path

from cluster.commands import program
from cluster.distributed.stop_signals import STOPPED, restore_handlers, until_stopped
from cluster.paths import resolve_path
from cluster.preflight.local_engines import champion_of, settings_of
from cluster.serving.api_keys import VARIABLE, ApiKeys
from cluster.serving.limits import Limits
from cluster.settings import RunSettings
from rollout.errors import BadInput, RelookError, SettingsError

PORT = 8330
LOCAL = ("localhost", "127.0.0.1", "::1")
USUAL = Limits()


def main(argv: list[str] | None = None) -> int:
    """Runs the command until Ctrl-C or SIGTERM. Returns its exit code."""
    options = _parse(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        keys = _keys(options.host)
        run = None if options.model else champion_of(resolve_path(options.runs), options.run)
        settings = settings_of(run, options.settings, _overrides(options))
        model = resolve_path(options.model) if run is None else run / "champion"
        _check_nodes(settings)
        name = options.name or (model.name if run is None else run.name)
        _check_port(options.host, options.port)
        asyncio.run(until_stopped(serve(options, settings, model, name, keys)))
    except asyncio.CancelledError:
        print("relook: stopped", file=sys.stderr)
        return STOPPED
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2 if isinstance(error, BadInput) else 1
    return 0


async def serve(options: argparse.Namespace, settings: RunSettings, model: Path, name: str, keys: ApiKeys) -> None:
    """Starts actors and server, and serves until cancelled. Raises CapacityError and MachineError."""
    from cluster.distributed.connection import connect
    from cluster.serving.actors import keep_alive, serving_actors
    from cluster.serving.deployment import deploy, retire

    limits = Limits(
        max_tokens=options.max_tokens or settings.episode.max_tokens,
        per_minute=options.rate,
        running=options.running,
        waiting=options.waiting,
        timeout_s=options.timeout,
    )
    print(f"starting {settings.policy.engines} engines of {name} and {settings.browser.count} browsers …", flush=True)
    connection = await asyncio.to_thread(connect)
    restore_handlers()
    try:
        async with serving_actors(settings, model, resolve_path(settings.cache) / "serve") as actors:
            place = {"host": options.host, "port": options.port}
            start = partial(deploy, settings, namespace=actors.namespace, name=name, limits=limits, keys=keys, **place)
            await asyncio.to_thread(start)
            try:
                print(f"serving {name} on http://{options.host}:{options.port}/", flush=True)
                await keep_alive(actors.pools, lambda words: print(words, file=sys.stderr, flush=True))
            finally:
                await asyncio.to_thread(retire)
    finally:
        connection.leave()


def _keys(host: str) -> ApiKeys:
    """The keys of the environment. Raises SettingsError when others can reach the server without one."""
    keys = ApiKeys.of(os.environ.get(VARIABLE, ""))
    if host not in LOCAL and not keys.digests:
        raise SettingsError(
            f"--host {host} lets other machines in, which needs keys: set {VARIABLE} to keys separated by commas"
        )
    return keys


def _overrides(options: argparse.Namespace) -> list[str]:
    """The overrides of the settings: `--set`, and the numbers of engines and browsers."""
    numbers = {"policy.engines": options.engines, "browser.count": options.browsers}
    return [*options.set, *(f"{name}={number}" for name, number in numbers.items() if number is not None)]


def _check_nodes(settings: RunSettings) -> None:
    """Raises SettingsError for engines on several nodes: the server starts a dead engine again on its own node."""
    if settings.policy.nodes > 1:
        raise SettingsError(
            f"policy.nodes is {settings.policy.nodes}, wanted 1: relook serve starts a dead engine again on its own "
            "node; give --set policy.nodes=1 and a policy.tensor_parallel that one node has"
        )


def _check_port(host: str, port: int) -> None:
    """Raises SettingsError when nothing can listen on this address; Ray Serve would try for minutes."""
    try:
        family, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
    except OSError as error:
        reason = error.strerror or error
        raise SettingsError(f"cannot listen on {host}:{port}: {reason}; choose another --host or --port") from None


def _number(text: str) -> int:
    """A whole number above 0. Raises ValueError, which argparse reports."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("serve"), description="Serves a champion over HTTP.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--run", help="run whose champion is served (default: the newest)")
    source.add_argument("--model", type=Path, help="a Hugging Face model directory to serve")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--settings", type=Path, help="a TOML file with engines, browsers and critics")
    parser.add_argument("--set", action="append", default=[], metavar="a.b=c", help="override one setting")
    parser.add_argument("--name", default="", help="the model's name in the API (default: that of the folder)")
    parser.add_argument("--host", default="localhost", help=f"address; any but localhost needs {VARIABLE}")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on")
    parser.add_argument("--engines", type=int, help="replicas of the policy engine (default: policy.engines)")
    parser.add_argument("--browsers", type=int, help="replicas of the browser (default: browser.count)")
    parser.add_argument("--max-tokens", type=_number, help="longest answer (default: episode.max_tokens)")
    parser.add_argument("--rate", type=_number, default=USUAL.per_minute, help="requests a minute of one client")
    parser.add_argument("--running", type=_number, default=USUAL.running, help="requests answered at the same time")
    parser.add_argument("--waiting", type=_number, default=USUAL.waiting, help="further requests that wait")
    parser.add_argument("--timeout", type=_number, default=USUAL.timeout_s, help="seconds until a request is given up")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
