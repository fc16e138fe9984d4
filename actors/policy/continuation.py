"""An answer generated in several pieces, because a stop string was only quoted in it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rollout.parsing import is_over
from rollout.records import VersionSpan
from rollout.seeds import seed_of

MAX_QUOTES = 8
"""Quoted stop strings after which the answer is finished without stop strings."""
TAIL = 8
"""Last prompt tokens checked for an opening `<think>` of the template."""


def overhang(tokenizer: Any, token_ids: Sequence[int], stop: str) -> str:
    """Text of the last token after the stop string: vLLM removes it from the text, but not from the tokens."""
    return str(tokenizer.decode(list(token_ids), skip_special_tokens=False)).rpartition(stop)[2]


def spans_of(outputs: Sequence[Any]) -> tuple[VersionSpan, ...]:
    """Weight versions of the tokens of all pieces; adjacent spans of one version are merged."""
    spans: list[VersionSpan] = []
    written = 0
    for output in outputs:
        for span in output.weight_versions:
            version = int(span.version)
            end = written + span.end
            if spans and spans[-1].version == version:
                spans[-1] = replace(spans[-1], end=end)
            else:
                spans.append(VersionSpan(version=version, start=written + span.start, end=end))
        written += len(output.token_ids)
    return tuple(spans)


class Continuation:
    """Pieces of one answer, and the sampling options of the next."""

    def __init__(self, tokenizer: Any, prompt: list[int], limit: int, sampling: Any) -> None:
        """`limit` is the maximum tokens of prompt and answer; `sampling` are the parameters of the first piece."""
        self.tokenizer = tokenizer
        self.limit = limit
        self.sampling = sampling
        self.thinking = str(tokenizer.decode(prompt[-TAIL:])).rstrip().endswith("<think>")
        self.outputs: list[Any] = []
        self.written = list(prompt)
        self.left = sampling.max_tokens
        self.text = ""
        """Text of all pieces but the last, or of all when the answer was `cut`."""
        self.over = self.cut = False

    def next(self) -> dict[str, Any] | None:
        """Sampling options of the next piece; None when the answer is complete."""
        if self.over or self.cut:
            return None
        return {
            "max_tokens": self.left,
            "temperature": self.sampling.temperature,
            "seed": seed_of(self.sampling.seed, "piece", len(self.outputs)),
            "stop": list(self.sampling.stop) if len(self.outputs) < MAX_QUOTES else [],
        }

    def add(self, output: Any) -> None:
        """Appends a generated piece."""
        self.outputs.append(output)
        self.written = self.written + list(output.token_ids)
        self.left -= len(output.token_ids)
        stop = output.stop_reason
        self.over = not isinstance(stop, str) or is_over(self.text + output.text, stop, thinking=self.thinking)
        if not self.over:
            self.text += output.text + overhang(self.tokenizer, output.token_ids, stop)
            self.cut = self.left <= 0 or len(self.written) >= self.limit

    @property
    def finish(self) -> Any:
        """Finish reason of the whole answer."""
        return "length" if self.cut else self.outputs[-1].finish_reason
