"""Server-sent events."""

import json
from typing import Any

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Headers of a stream; the second one turns off the buffers of proxies such as nginx."""
DONE = b"data: [DONE]\n\n"
"""Last event of a stream of OpenAI's API."""


def event(data: Any, kind: str = "") -> bytes:
    """Formats one event whose data is JSON; `kind` is its event type, if it has one."""
    name = f"event: {kind}\n" if kind else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()
