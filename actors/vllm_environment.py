"""Environment variables of vLLM processes, and temporary weight files in shared memory."""

import math
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actors.judge_settings import JudgeSettings
from actors.settings import PolicySettings
from rollout.errors import StorageFault

SHARED_FOLDER = Path("/dev/shm")


def backend_of(settings: PolicySettings) -> str:
    """Weight-transfer back end of an engine; unresolved `auto` is `shared_memory`, which works with any learner."""
    return "shared_memory" if settings.transfer == "auto" else settings.transfer


def variables(settings: PolicySettings | JudgeSettings) -> dict[str, str]:
    """Environment variables for vLLM in this process and its children."""
    shares_memory = isinstance(settings, PolicySettings) and settings.transfer == "ipc"
    return {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(math.ceil(settings.start_timeout_s)),
        "OMP_NUM_THREADS": str(settings.threads),
        # Spinning threads on shared cores are ten times slower than a single thread.
        "OMP_WAIT_POLICY": "passive",
        # By default vLLM pins one thread to each core but the last: on two cores, every engine to core 0.
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # Handles of the learner's memory are pickled in transit; only the learner can send them.
        **({"VLLM_ALLOW_INSECURE_SERIALIZATION": "1"} if shares_memory else {}),
    }


@contextmanager
def environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets environment variables for the block and the processes it starts."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def shared_file(blob: bytes, rank: int) -> Iterator[Path]:
    """A shared-memory file that contains `blob` during the block. Raises StorageFault when it does not fit."""
    folder = SHARED_FOLDER if SHARED_FOLDER.is_dir() else Path(tempfile.gettempdir())
    path = folder / f"relook-weights-{os.getpid()}-{rank}.safetensors"
    try:
        path.write_bytes(blob)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise StorageFault(f"{len(blob)} bytes of weights do not fit in {folder}: {error}; free space there") from error
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
