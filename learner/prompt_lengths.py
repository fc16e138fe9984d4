"""Counts prompt tokens and checks LoRA targets of a model, in a separate process.

`python -m learner.prompt_lengths` reads `{"model", "prompts", "learner"}` as JSON from standard input: a model
directory, conversations of `[role, content]` pairs, and learner settings or null. The last line of its output is
`{"tokens": [tokens of each prompt], "fault": "error in the model or the settings, or empty"}`.
"""

import json
import sys
from typing import Any

from learner.settings import LearnerSettings


def main() -> int:
    """Command-line entry point. Returns the exit code."""
    asked = json.load(sys.stdin)
    try:
        tokens = count(asked["model"], asked["prompts"])
        if asked["learner"] is not None:
            try_adapters(asked["model"], LearnerSettings.model_validate(asked["learner"]))
        found: dict[str, Any] = {"tokens": tokens, "fault": ""}
    except (ValueError, OSError) as error:
        found = {"tokens": [], "fault": str(error).strip().splitlines()[0]}
    print(json.dumps(found))
    return 0


def count(model: str, prompts: list[list[list[str]]]) -> list[int]:
    """Tokens of each conversation in the model's chat template, generation prompt included."""
    from jinja2.exceptions import TemplateError
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    try:
        texts = [
            tokenizer.apply_chat_template(
                [{"role": role, "content": content} for role, content in prompt],
                add_generation_prompt=True,
                tokenize=False,
            )
            for prompt in prompts
        ]
    except TemplateError as error:
        raise ValueError(f"the model's chat template refuses a conversation: {error}") from error
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


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
