"""Counts prompt tokens and checks LoRA targets of a model, in a separate process.

`python -m learner.prompt_lengths` reads JSON from standard input: `model`, a directory; `prompts`, conversations of
`[role, content]` pairs; `template`, arguments of the chat template; `learner`, settings or null. The last line of its
output is `{"tokens": [tokens of each prompt], "fault": "error in the model or the settings, or empty"}`.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from learner.chat import Chat
from learner.settings import LearnerSettings
from rollout.errors import ModelError
from rollout.records import Message


def main() -> int:
    """Command-line entry point. Returns the exit code."""
    asked = json.load(sys.stdin)
    try:
        tokens = count(Path(asked["model"]), asked["prompts"], asked["template"])
        if asked["learner"] is not None:
            try_adapters(asked["model"], LearnerSettings.model_validate(asked["learner"]))
        found: dict[str, Any] = {"tokens": tokens, "fault": ""}
    except (ValueError, OSError, ModelError) as error:
        found = {"tokens": [], "fault": str(error).strip().splitlines()[0]}
    print(json.dumps(found))
    return 0


def count(model: Path, prompts: list[list[list[str]]], template: Mapping[str, Any]) -> list[int]:
    """Tokens of each conversation as the engine and the learner tokenize it. Raises ModelError."""
    if not prompts:
        return []
    from learner.model import read_tokenizer

    chat = Chat(read_tokenizer(model), template)
    return [
        len(chat.prompt_ids([Message(role=role, content=content) for role, content in prompt]))  # type: ignore[arg-type]
        for prompt in prompts
    ]


def try_adapters(model: str, settings: LearnerSettings) -> None:
    """Adds adapters to the model on the meta device, without weights. Raises ValueError for unknown targets."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from learner.lora import adapt

    with torch.device("meta"):
        shape = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(model))
    if not any(isinstance(layer, torch.nn.Linear) for name, layer in shape.named_modules() if "head" not in name):
        raise ValueError(f"lora_rank is {settings.lora_rank}, but this model has no linear layer to adapt; set it to 0")
    adapt(shape, settings)


if __name__ == "__main__":
    sys.exit(main())
