"""One answer that an engine wrote in several pieces, because a stop string was only quoted in it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rollout.records import VersionSpan

MAX_QUOTES = 8
"""Quoted stop strings after which an answer is written to its own end, without any."""
TAIL = 8
"""Tokens at the end of a prompt that show whether its template opens a thought."""


def overhang(tokenizer: Any, token_ids: Sequence[int], stop: str) -> str:
    """What the last token says behind the stop string: vLLM leaves it out of the text, not out of the tokens."""
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=False)).rpartition(stop)[2]


def spans_of(outputs: Sequence[Any]) -> tuple[VersionSpan, ...]:
    """The weight versions of the tokens of all pieces together."""
    spans: list[VersionSpan] = []
    written = 0
    for output in outputs:
        for span in output.weight_versions:
            version, start, end = int(span.version), written + span.start, written + span.end
            if spans and spans[-1].version == version:
                spans[-1] = replace(spans[-1], end=end)
            else:
                spans.append(VersionSpan(version=version, start=start, end=end))
        written += len(output.token_ids)
    return tuple(spans)
