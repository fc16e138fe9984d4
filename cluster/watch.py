"""Shows runs live in a browser: `python -m cluster.watch RUN [RUN2]`, from the files in their folders alone.

It works for runs that go on, also on another machine whose storage is shared, and for those that ended. The server only
reads, and listens on localhost unless another host is given.
"""

import argparse
import sys
from pathlib import Path

from cluster.commands import program
from cluster.live.run_page import RunPage
from cluster.live.server import LiveServer
from cluster.paths import resolve_path
from cluster.storage.store import Store
from rollout.errors import RelookError

PORT = 8320


def main(argv: list[str] | None = None) -> int:
    """Runs the command until Ctrl-C. Returns its exit code."""
    options = _parse(argv)
    try:
        stores = [Store.open(resolve_path(options.runs), run) for run in options.run]
        runs = [RunPage(store, place) for place, store in enumerate(stores)]
    except RelookError as error:
        print(f"relook: {error}", file=sys.stderr)
        return 2
    try:
        server = LiveServer(runs, options.host, options.port)
    except OSError as error:
        reason = error.strerror or error
        print(f"relook: cannot listen on {options.host}:{options.port}: {reason}; choose a --port", file=sys.stderr)
        return 2
    host = f"[{options.host}]" if ":" in options.host else options.host
    try:
        with server:
            print(f"watching {', '.join(run.name for run in runs)} on http://{host}:{server.server_port}/", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=program("watch"), description="Shows runs live in a browser.")
    parser.add_argument("run", nargs="+", help="id or path of a run; two are shown side by side")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs")
    parser.add_argument("--host", default="localhost", help="address to listen on; others can read what it serves")
    parser.add_argument("--port", type=int, default=PORT, help="port to listen on; 0 chooses a free one")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
