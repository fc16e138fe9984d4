"""The built-in policy's shipped weights: finds them, checks them, and writes them from a finished pre-training.

`python -m learner.builtin.shipped FOLDER` ships the policy that was pre-trained in FOLDER.
"""

import argparse
import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path

from learner.builtin.settings import WarmStartSettings
from rollout.errors import RelookError

WEIGHTS = Path(__file__).with_name("weights")
MODEL = "model.safetensors"
RECIPE = "recipe.json"
LOG = "training.csv"
"""Loss in nats per target token after each step."""
FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", LOG)
"""Files that are copied; `MODEL` is written in bfloat16."""
OF_THE_MACHINE = {"threads", "precision"}
"""Settings that change the last bits only: the shipped weights serve whatever they are."""
LIBRARIES = ("torch", "transformers", "tokenizers")
"""Libraries whose versions are part of a recipe."""


def shipped_policy(settings: WarmStartSettings) -> Path | None:
    """The folder of the shipped weights if they are of this recipe, else None."""
    path = WEIGHTS / RECIPE
    if not path.is_file():
        return None
    shipped = json.loads(path.read_text(encoding="utf-8"))["settings"]
    wanted = settings.model_dump(exclude=OF_THE_MACHINE)
    return WEIGHTS if {name: shipped.get(name) for name in wanted} == wanted else None


def weights_hash(folder: Path = WEIGHTS) -> str:
    """SHA-256 of the weights and of the tokenizer."""
    digest = hashlib.sha256()
    for name in (MODEL, "tokenizer.json"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def ship(trained: Path, settings: WarmStartSettings, precision: str, to: Path = WEIGHTS) -> None:
    """Writes the weights in bfloat16, with tokenizer, training log and recipe.

    Raises RelookError if the folder holds no finished pre-training of as many steps as the settings say.
    """
    import torch
    from safetensors.torch import load_file, save_file

    missing = [name for name in (MODEL, *FILES) if not (trained / name).is_file()]
    if missing:
        raise RelookError(
            f"{trained} lacks {', '.join(missing)}, wanted a finished pre-training of the built-in policy"
        )
    steps = len((trained / LOG).read_text(encoding="utf-8").splitlines()) - 1
    if steps != settings.steps:
        raise RelookError(f"{trained} was trained for {steps} steps, wanted {settings.steps}: see --settings")
    to.mkdir(exist_ok=True)
    for name in FILES:
        shutil.copyfile(trained / name, to / name)
    config = json.loads((trained / "config.json").read_text(encoding="utf-8"))
    (to / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}, indent=2) + "\n", encoding="utf-8")
    weights = {name: value.to(torch.bfloat16) for name, value in load_file(trained / MODEL).items()}
    save_file(weights, to / MODEL, metadata={"format": "pt"})
    recipe = {
        "settings": settings.model_dump(exclude=OF_THE_MACHINE),
        "precision": precision,
        "libraries": {name: version(name) for name in LIBRARIES},
        "sha256": weights_hash(to),
    }
    (to / RECIPE).write_text(json.dumps(recipe, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(description="Ships a pre-trained built-in policy with the package.")
    parser.add_argument("trained", type=Path, help="folder of the finished pre-training")
    parser.add_argument("--settings", default="{}", help="its WarmStartSettings as JSON")
    parser.add_argument(
        "--precision", default="fp32", choices=("fp32", "bf16"), help="precision in which it was trained"
    )
    options = parser.parse_args()
    settings = WarmStartSettings.model_validate_json(options.settings)
    ship(options.trained, settings, options.precision)
    print(f"{WEIGHTS}: {weights_hash()}")


if __name__ == "__main__":
    main()
