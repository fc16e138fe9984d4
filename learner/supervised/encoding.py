"""Tokenizes training examples: `python -m learner.supervised.encoding MODEL EXAMPLES OUT --template JSON`.

A separate process, because the driver loads no tokenizer. Prompts are the ids that the rollout engines build from the
same messages (`learner.chat`). Both files are Parquet; OUT has one row for each row of EXAMPLES.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rollout.errors import BadInput
from rollout.records import Message

TAIL = 8
"""Last tokens of a prompt that tell whether the chat template opens a thought."""
NO_THOUGHT = "\n</think>\n\n"
"""Ends a thought that the chat template opens: references come without thoughts."""
Row = Mapping[str, Any]


def main() -> int:
    """Command-line entry point. Returns 2, after a line with the reason, for an unusable model."""
    parser = argparse.ArgumentParser(description="Tokenizes training examples.")
    parser.add_argument("model", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--template", type=json.loads, default={}, help="arguments of the chat template, as JSON")
    options = parser.parse_args()
    try:
        encode_file(options.model, options.examples, options.out, options.template)
    except (BadInput, OSError, ValueError) as error:
        print(str(error).strip().splitlines()[0])
        return 2
    return 0


def encode_file(model: Path, examples: Path, out: Path, arguments: Mapping[str, Any]) -> None:
    """Writes the token ids of every example. Raises ModelError when the chat template is unusable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from learner.chat import Chat
    from learner.model import read_tokenizer

    chat = Chat(read_tokenizer(model), arguments)
    ids = pa.list_(pa.int32())
    schema = pa.schema({"prompt_ids": ids, "token_ids": ids})
    rows = pq.read_table(examples, columns=["messages", "target"]).to_pylist()
    pq.write_table(pa.Table.from_pylist(list(encoded(chat, rows)), schema=schema), out, compression="zstd")


def encoded(chat: Any, rows: Iterable[Row]) -> Iterable[dict[str, list[int]]]:
    """Prompt and answer ids of each row; `chat` is a `learner.chat.Chat`. An answer ends with the end-of-turn token.

    Episodes end an answer at its stop string, before that token; the token ends answers everywhere else.
    """
    tokenizer = chat.tokenizer
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for row in rows:
        prompt = chat.prompt_ids(_messages(row["messages"]))
        thinking = str(tokenizer.decode(prompt[-TAIL:])).rstrip().endswith("<think>")
        target = (NO_THOUGHT if thinking else "") + row["target"]
        yield {
            "prompt_ids": prompt,
            "token_ids": [*tokenizer(target, add_special_tokens=False)["input_ids"], *end],
        }


def _messages(rows: Sequence[Row]) -> list[Message]:
    return [Message(role=row["role"], content=row["content"]) for row in rows]


if __name__ == "__main__":
    sys.exit(main())
