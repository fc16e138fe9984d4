"""Runs the model proof before a run starts, in a separate process: the driver does not import torch.

Proofs are cached by the model's files, the relevant settings, the proving code and the library versions.
"""

import asyncio
import hashlib
import json
import logging
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from cluster.paths import resolve_path
from cluster.preflight.separate_process import run_module
from cluster.settings import RunSettings
from rollout.errors import ModelError
from rollout.files import atomic_write

logger = logging.getLogger(__name__)
ROOT = Path(__file__).parents[2]
SOURCES = ("*.py", "losses/*.py")
"""Files of `learner/` whose change asks for a new proof."""
LIBRARIES = ("torch", "transformers", "tokenizers")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenModel:
    """Result of `learner.proof`: how the learner evaluates a model's samples."""

    model_type: str
    packed: bool
    """Whether samples are packed; otherwise each row has one sample and uses the model's own attention."""
    gap: float
    """Largest log-prob difference from transformers, in nats."""
    gradient: float
    """Gradient difference from transformers, relative to the gradient's norm."""
    packed_gap: float
    """Largest log-prob difference of packed samples, in nats."""

    def __str__(self) -> str:
        exact = f"{self.gap:.0e} nats from transformers"
        if self.packed:
            return f"model {self.model_type}: packed samples are exact ({exact})"
        return (
            f"model {self.model_type}: packed samples are {self.packed_gap:.2g} nats off, so the learner reads one "
            f"sample a row with the model's own attention, which is exact ({exact}) and slower"
        )


async def prove_model(settings: RunSettings, model: Path) -> ProvenModel:
    """Proves a model directory, or loads the cached proof; a new one takes seconds. Raises ModelError."""
    learner, arguments = settings.learner, settings.policy.template_arguments
    longest = min(learner.token_budget, settings.policy.max_model_len or learner.token_budget)
    asked = [
        *("--learner", learner.model_dump_json(include={"recompute", "threads"})),
        *("--longest", str(longest), "--template", json.dumps(arguments, sort_keys=True)),
    ]
    kept = resolve_path(settings.cache) / "proofs" / f"{await asyncio.to_thread(_key, model, asked)}.json"
    if kept.is_file():
        return ProvenModel(**json.loads(kept.read_bytes()))
    code, said, complaints = await run_module("learner.proof", str(model), *asked)
    proof = _read(model, said, complaints, code)
    await asyncio.to_thread(atomic_write, kept, json.dumps(asdict(proof)).encode())
    return proof


def _read(model: Path, said: str, complaints: str, code: int | None) -> ProvenModel:
    """Parses the output of a proof. Raises ModelError."""
    lines = said.strip().splitlines()
    if code == 0 and lines:
        return ProvenModel(**json.loads(lines[-1]))
    if code == 2 and lines:
        raise ModelError(json.loads(lines[-1])["refused"])
    logger.debug("the proof of %s failed: %s", model, complaints)
    last = (complaints.strip().splitlines() or ["no output"])[-1]
    raise ModelError(
        f"{model}: cannot use this model: its proof failed with exit code {code} ({last[:300]}); "
        f"`python -m learner.proof {model}` shows the full output"
    )


def _key(model: Path, asked: list[str]) -> str:
    """Cache key of a proof. Weights, which may be large, are identified by size and modification time."""
    digest = hashlib.sha256(json.dumps(asked).encode())
    for path in sorted(path for path in model.iterdir() if path.is_file()):
        digest.update(path.name.encode())
        if path.suffix in (".json", ".jinja", ".model", ".txt"):
            digest.update(path.read_bytes())
        else:
            about = path.stat()
            digest.update(f"{about.st_size} {about.st_mtime_ns}".encode())
    for path in sorted(path for pattern in SOURCES for path in (ROOT / "learner").glob(pattern)):
        digest.update(path.read_bytes())
    for library in LIBRARIES:
        digest.update(f"{library}=={version(library)}".encode())
    return digest.hexdigest()[:16]
