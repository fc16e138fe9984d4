"""Provides the built-in policy: the shipped weights, or those of another recipe, pre-trained once and cached.

`python -m learner.builtin.warmstart --settings JSON --cache DIR` runs the recipe in a separate process; prints
`step/steps loss` after each step, and the model's directory last.
"""

import argparse
import fcntl
import hashlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import reward.designs
import reward.validity
import reward.visual.sentences
import rollout.edits
import rollout.fences
import rollout.parsing
import rollout.prompts
from learner.builtin import corpus, flaws, tokenizer
from learner.builtin.settings import WarmStartSettings
from learner.builtin.shipped import LIBRARIES, shipped_policy
from learner.processor import has_bfloat16_units
from learner.threads import limit_spinning

SOURCES = (
    corpus,
    flaws,
    tokenizer,
    rollout.prompts,
    rollout.edits,
    rollout.fences,
    rollout.parsing,
    reward.validity,
    reward.visual.sentences,
)
"""Modules that affect the policy, besides the designs and the pre-training code."""


def recipe_hash(settings: WarmStartSettings) -> str:
    """Recipe hash: 16 hexadecimal digits over the settings, the source code and the versions of `LIBRARIES`."""
    digest = hashlib.sha256(settings.model_dump_json().encode())
    digest.update(resolve_precision(settings).encode())
    for path in _source_files():
        digest.update(path.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library}=={version(library)}".encode())
    return digest.hexdigest()[:16]


def resolve_precision(settings: WarmStartSettings) -> str:
    """Resolves `auto` to `bf16` or `fp32` for this machine."""
    if settings.precision != "auto":
        return settings.precision
    return "bf16" if has_bfloat16_units() else "fp32"


def warm_start(
    settings: WarmStartSettings, cache_dir: Path, progress: Callable[[int, int, float], None] | None = None
) -> Path:
    """Returns the Hugging Face directory of the built-in policy; pre-trains it unless the recipe is shipped or cached.

    Calls `progress(step, steps, loss)`, loss in nats per target token. The directory is created atomically; concurrent
    runs wait on a lock. An interrupted pre-training goes on where it last saved its state.
    """
    shipped = shipped_policy(settings)
    if shipped is not None:
        return shipped
    name = f"policy-{recipe_hash(settings)}"
    done = cache_dir / name
    cache_dir.mkdir(parents=True, exist_ok=True)
    with (cache_dir / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.is_dir():
            from learner.builtin.pretrain import pretrain

            aside = cache_dir / f"{name}.part"
            aside.mkdir(exist_ok=True)
            pretrain(settings, resolve_precision(settings), aside, progress)
            aside.rename(done)
    return done


def cached_policy(settings: WarmStartSettings, cache_dir: Path) -> Path | None:
    """Directory of the built-in policy if it is shipped or cached, else None."""
    shipped = shipped_policy(settings)
    if shipped is not None:
        return shipped
    done = cache_dir / f"policy-{recipe_hash(settings)}"
    return done if done.is_dir() else None


def main() -> None:
    """Command-line entry point."""
    parser = argparse.ArgumentParser(description="Pre-trains the built-in policy, or finds it in the cache.")
    parser.add_argument("--settings", default="{}", help="WarmStartSettings as JSON")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder that holds warm starts")
    options = parser.parse_args()
    limit_spinning()
    settings = WarmStartSettings.model_validate_json(options.settings)
    print(warm_start(settings, options.cache, _report).resolve(), flush=True)


def _report(step: int, steps: int, loss: float) -> None:
    print(f"{step}/{steps} {loss:.4f}", flush=True)


def _source_files() -> list[Path]:
    designs = Path(str(reward.designs.__file__)).parent
    modules = [Path(str(module.__file__)) for module in SOURCES]
    # These two import torch, whose threads read their environment at import; see `main`.
    torch_files = [Path(__file__).with_name(name) for name in ("copying.py", "muon.py", "pretrain.py")]
    return [*modules, Path(__file__), *torch_files, *sorted(designs.rglob("*.py"))]


if __name__ == "__main__":
    main()
