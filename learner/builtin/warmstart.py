"""The built-in policy: pre-trained once for each recipe, then taken from the cache.

`python -m learner.builtin.warmstart --settings JSON --cache DIR` runs the recipe in a process of its own, prints
`step/steps loss` as it goes, and the model's directory as its last line.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import reward.designs
import reward.validity
import reward.visual.sentences
import rollout.fences
import rollout.parsing
import rollout.prompts
from learner.builtin import corpus, flaws, tokenizer
from learner.builtin.settings import WarmStartSettings
from learner.processor import has_bfloat16_units

SOURCES = (
    corpus,
    flaws,
    tokenizer,
    rollout.prompts,
    rollout.fences,
    rollout.parsing,
    reward.validity,
    reward.visual.sentences,
)
"""Modules that shape the policy, beside the designs and the pre-training itself."""
LIBRARIES = ("torch", "transformers", "tokenizers")


def recipe_hash(settings: WarmStartSettings) -> str:
    """Names a recipe: 16 hexadecimal digits of its settings, the code it runs and the libraries below."""
    digest = hashlib.sha256(settings.model_dump_json().encode())
    digest.update(resolve_precision(settings).encode())
    for path in _source_files():
        digest.update(path.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library}=={version(library)}".encode())
    return digest.hexdigest()[:16]


def resolve_precision(settings: WarmStartSettings) -> str:
    """`bf16` or `fp32`: what `auto` means on this machine."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if has_bfloat16_units() else "fp32"


def warm_start(
    settings: WarmStartSettings, cache_dir: Path, progress: Callable[[int, int, float], None] | None = None
) -> Path:
    """The Hugging Face directory of the built-in policy; pre-trains it unless this recipe is in the cache.

    `progress` hears `(step, steps, loss)`, the loss in nats per target token. The directory appears whole or not
    at all: a run that is interrupted leaves nothing that counts, and two at once wait for each other.
    """
    name = f"policy-{recipe_hash(settings)}"
    done = cache_dir / name
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_dir():
            from learner.builtin.pretrain import pretrain

            aside = cache_dir / f"{name}.part"
            shutil.rmtree(aside, ignore_errors=True)
            aside.mkdir()
            pretrain(settings, resolve_precision(settings), aside, progress)
            aside.rename(done)
    return done


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Pre-trains the built-in policy, or finds it in the cache.")
    parser.add_argument("--settings", default="{}", help="WarmStartSettings as JSON")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder that holds warm starts")
    options = parser.parse_args()
    # Threads that spin long for each other take the cores from those they wait for, on a machine that is shared.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    settings = WarmStartSettings.model_validate_json(options.settings)
    print(warm_start(settings, options.cache, _report).resolve(), flush=True)


def _report(step: int, steps: int, loss: float) -> None:
    print(f"{step}/{steps} {loss:.4f}", flush=True)


def _source_files() -> list[Path]:
    designs = Path(str(reward.designs.__file__)).parent
    modules = [Path(str(module.__file__)) for module in SOURCES]
    # These two import torch, whose threads read their environment when it is loaded; see `main`.
    torch_files = [Path(__file__).with_name(name) for name in ("muon.py", "pretrain.py")]
    return [*modules, Path(__file__), *torch_files, *sorted(designs.rglob("*.py"))]


if __name__ == "__main__":
    main()
