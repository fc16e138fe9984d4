"""The learner's engine: a Hugging Face causal language model under DeepSpeed, one process a rank.

The only file that knows DeepSpeed. Every rank makes every call; the global sums are the same on all of them, so an
update does not depend on how many ranks share it.
"""

import json
import logging
import os
import time
from collections.abc import Sequence
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from learner.attention import register
from learner.batch import pack
from learner.checkpoint import aside, verify, writing
from learner.objective import SUMS, Scale, metrics_of, pick, share
from learner.rows import Piece, Row, lay_out, piece_of
from learner.settings import LearnerSettings
from rollout.errors import CheckpointError
from rollout.records import Batch, Lesson, Update
from rollout.seeds import seed_of

STATE = "learner.json"
TAG = "deepspeed"


class Engine:
    """A policy that is changed, one optimizer step a batch."""

    def __init__(
        self,
        model_dir: Path,
        settings: LearnerSettings,
        *,
        rank: int = 0,
        world_size: int = 1,
        init_method: str = "",
        temperature: float = 1.0,
    ) -> None:
        """Loads a Hugging Face directory and joins the other ranks at `init_method` (`tcp://host:port`).

        `temperature` is what completions are sampled at: their log-probs are those of logits divided by it.
        """
        self.settings, self.rank, self.world_size, self.temperature = settings, rank, world_size, temperature
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.version = 0
        _join(self.device, rank, world_size, init_method)
        self.module, self.tokenizer = self._read(model_dir)
        self.engine = self._start()

    def update(self, batch: Batch) -> Update:
        """One optimizer step. A batch that teaches nothing moves no weight, yet the version rises.

        Raises ValueError for a sample longer than the token budget, RuntimeError when loss or gradient are not
        finite: the weights are then not to be used.
        """
        started, number = time.perf_counter(), self.version + 1
        torch.manual_seed(seed_of("update", number, self.rank))
        samples = [piece_of(s) for s in batch.samples if s.token_ids and not s.truncated]
        weight = self.settings.distill_weight_at(number)
        lessons = [self._piece(lesson) for lesson in batch.lessons] if weight > 0 else []
        scale = Scale.of(samples, lessons, weight)
        lr, norm = self.settings.lr_at(number), 0.0
        sums, gap_max = dict.fromkeys(SUMS, 0.0), 0.0
        if samples or lessons:
            sums, gap_max = self._accumulate([*samples, *lessons], scale, number)
            norm = self._step(lr, number)
        self.version = number
        metrics = metrics_of(sums, scale) | {
            "samples": len(samples),
            "logprob_gap_max": gap_max,
            "grad_norm": norm,
            "lr": lr,
            "seconds": time.perf_counter() - started,
        }
        return Update(version=number, metrics=metrics)

    def logprobs(self, token_ids: Sequence[int]) -> tuple[float, ...]:
        """[T-1] log-prob of each token of a sequence after the first, given those before it, at temperature 1."""
        row = lay_out([Piece(prompt_ids=token_ids[:1], token_ids=token_ids[1:])], self.device)
        self.module.eval()
        with torch.no_grad():
            logits_TV = _logits(self.module, row)
        self.module.train()
        return tuple(pick(logits_TV.log_softmax(-1), row.targets_T).tolist())

    def weights(self) -> bytes:
        """All weights as safetensors bytes under their Hugging Face names; empty on ranks other than 0."""
        from safetensors.torch import save

        tensors = self._gather()
        return save(tensors) if self.rank == 0 else b""

    def save(self, path: Path) -> None:
        """Writes a checkpoint that `load` continues from bit by bit. Several ranks share the folder of `path`.

        Raises StorageFault.
        """
        with writing(path) if self.rank == 0 else nullcontext(aside(path)) as filling:
            dist.barrier()
            self.engine.save_checkpoint(str(filling), tag=TAG, save_latest=False)
            if self.rank == 0:
                (filling / STATE).write_text(json.dumps(self._shape() | {"version": self.version}))
            dist.barrier()
        dist.barrier()

    def load(self, path: Path) -> None:
        """Restores weights, optimizer and version. Raises CheckpointError for damage or a run of another shape."""
        verify(path)
        state = json.loads((path / STATE).read_bytes())
        for name, wanted in self._shape().items():
            if state.get(name) != wanted:
                raise CheckpointError(
                    f"{path}: was written with {name} = {state.get(name)}, but this run has {wanted}; "
                    "resume with the settings it was written with"
                )
        self.engine.load_checkpoint(str(path), tag=TAG)
        self.version = int(state["version"])

    def export(self, path: Path) -> None:
        """Writes weights, configuration and tokenizer as a Hugging Face directory. Raises StorageFault."""
        tensors = self._gather()
        if self.rank == 0:
            with writing(path) as filling:
                self.module.save_pretrained(filling, state_dict=tensors)
                self.tokenizer.save_pretrained(filling)
        dist.barrier()

    def close(self) -> None:
        """Leaves the other ranks, for good: DeepSpeed cannot join twice in one process."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def _read(self, model_dir: Path) -> tuple[Any, Any]:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        wanted = self.settings.dtype
        if wanted == "auto":
            wanted = "float32" if self.device == "cpu" else "bfloat16"
        model = AutoModelForCausalLM.from_pretrained(
            model_dir, dtype=getattr(torch, wanted), attn_implementation=register()
        )
        model.config.use_cache = False
        if self.settings.recompute:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        autocast = self.settings.autocast
        if autocast or (autocast is None and wanted == "float32" and _has_bfloat16_units(self.device)):
            model.forward = _in_bfloat16(model, self.device)
        return model.train(), AutoTokenizer.from_pretrained(model_dir)

    def _start(self) -> Any:
        import deepspeed

        optimizer = torch.optim.AdamW(
            self.module.parameters(),
            lr=self.settings.lr,
            betas=self.settings.betas,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        config = {
            "train_micro_batch_size_per_gpu": 1,
            # One step() is one update, however many micro-batches came before it.
            "managed_gradient_accumulation": False,
            "gradient_clipping": self.settings.grad_clip,
            "bf16": {"enabled": self.module.dtype == torch.bfloat16},
            "zero_optimization": {"stage": self.settings.zero_stage, "overlap_comm": False},
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 10**9,
        }
        engine, *_ = deepspeed.initialize(model=self.module, optimizer=optimizer, config=config)
        return engine

    def _piece(self, lesson: Lesson) -> Piece:
        messages = [{"role": message.role, "content": message.content} for message in lesson.messages]
        prompt = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        target = self.tokenizer(lesson.target, add_special_tokens=False)["input_ids"]
        return Piece(prompt_ids=prompt, token_ids=target, lesson=True)

    def _accumulate(self, pieces: list[Piece], scale: Scale, number: int) -> tuple[dict[str, float], float]:
        """Gradients of this rank's rows; the sums and the largest gap of all ranks."""
        rows = pack([piece.length for piece in pieces], self.settings.token_budget, self.world_size)
        sums = torch.zeros(len(SUMS), dtype=torch.float64, device=self.device)
        gap_max = torch.zeros((), device=self.device)
        for indices in rows[self.rank :: self.world_size]:
            row = lay_out([pieces[index] for index in indices], self.device)
            found = share(_logits(self.engine, row), row, scale, self.settings, self.temperature)
            # DeepSpeed takes the mean over ranks of what should be their sum.
            self.engine.backward(found.loss * self.world_size, scale_wrt_gas=False)
            sums += found.sums
            gap_max = torch.maximum(gap_max, found.gap_max)
        dist.all_reduce(sums)
        dist.all_reduce(gap_max, dist.ReduceOp.MAX)
        named = dict(zip(SUMS, sums.tolist(), strict=True))
        if not sums.isfinite().all():
            raise RuntimeError(f"update {number}: the loss is not finite ({named}); the weights were not changed")
        return named, gap_max.item()

    def _step(self, lr: float, number: int) -> float:
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        if not torch.tensor(norm).isfinite():
            raise RuntimeError(f"update {number}: the gradient's norm is {norm}; go back to the last checkpoint")
        return norm

    def _gather(self) -> dict[str, Tensor]:
        """Contiguous copies of all weights on the CPU of rank 0; a tied head is left out, as in any checkpoint."""
        import deepspeed

        tensors: dict[str, Tensor] = {}
        for name, parameter in self.module.named_parameters():
            with deepspeed.zero.GatheredParameters([parameter], enabled=self.settings.zero_stage == 3):
                if self.rank == 0:
                    tensors[name] = parameter.detach().to("cpu", copy=True).contiguous()
        return tensors

    def _shape(self) -> dict[str, Any]:
        parameters = sum(getattr(p, "ds_numel", p.numel()) for p in self.module.parameters())
        return {"parameters": parameters, "ranks": self.world_size, "zero_stage": self.settings.zero_stage}


def _join(device: str, rank: int, world_size: int, init_method: str) -> None:
    """Meets the other ranks, and keeps DeepSpeed from doing it otherwise."""
    os.environ.setdefault("LOCAL_RANK", "0")
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    # Its shared-memory operator serves inference alone, and would be compiled for a minute here.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not dist.is_initialized():
        # Before DeepSpeed, which would pass a device id: that hangs weight syncs on GPU.
        backend = "nccl" if device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=world_size)


def _logits(model: Any, row: Row) -> Tensor:
    """[T, V] logits in float32 that predict the row's learnt tokens."""
    output = model(
        input_ids=row.ids_L[None],
        position_ids=row.positions_L[None],
        logits_to_keep=row.reading_T,
        lengths=row.lengths,
        use_cache=False,
    )
    logits: Tensor = output.logits[0].float()
    return logits


def _has_bfloat16_units(device: str) -> bool:
    processor = Path("/proc/cpuinfo")
    return device == "cpu" and processor.exists() and " amx_bf16" in processor.read_text()


def _in_bfloat16(model: Any, device: str) -> Any:
    """`model.forward` that multiplies in bfloat16 while training; a canary is compared in full precision.

    Inside forward, because DeepSpeed switches off an autocast that it finds outside, and its own would also
    reduce gradients in bfloat16.
    """
    forward = model.forward

    @wraps(forward)
    def autocast(*args: Any, **kwargs: Any) -> Any:
        with torch.autocast(device, torch.bfloat16, enabled=model.training):
            return forward(*args, **kwargs)

    return autocast
