"""DeepSpeed engine that trains a Hugging Face causal language model, one process per rank.

The only file that uses DeepSpeed. Every rank makes every call and computes the same global sums, so an update does not
depend on the number of ranks.
"""

import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from learner.batch import one_a_row, pack
from learner.chat import Chat
from learner.checkpoint import aside, verify, writing
from learner.checkpoint_names import as_saved, grouped
from learner.interfaces import choose_interface
from learner.lora import adapt, base_alone, weights_of
from learner.losses.batch_counts import BatchCounts
from learner.losses.logprobs import likelihood
from learner.losses.row_loss import SUMS, metrics_of, row_loss, temperatures
from learner.model import fingerprint, logits_of, logprobs_of, read_model, read_tokenizer, to_update_mode
from learner.packing import PackedRow, PrefixGroup, TokenSequence, alone, families, pack_tensors, sequence_of
from learner.settings import LearnerSettings
from rollout.errors import CheckpointError
from rollout.records import Batch, FeedbackTarget, Update
from rollout.seeds import seed_of

STATE = "learner.json"
TAG = "deepspeed"
GENERATION = "generation_config.json"


@dataclass(slots=True)
class Work:
    """A packed row and the results of the first step on it, which later steps on the same batch reuse."""

    row: PackedRow
    shown: PackedRow | None = None
    """The row's lessons with the teacher's prompt, which contains the feedback."""
    old_T: Tensor | None = None
    reference_T: Tensor | None = None


class Engine:
    """A trainable policy: one optimizer step (or `epochs` of them) per batch."""

    def __init__(
        self,
        model_dir: Path,
        settings: LearnerSettings,
        *,
        rank: int = 0,
        world_size: int = 1,
        init_method: str = "",
        temperature: float = 1.0,
        packed: bool = True,
        template_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Loads a Hugging Face directory and joins the other ranks at `init_method` (`tcp://host:port`).

        `temperature`: sampling temperature of the completions; divides the logits. `packed=False`: the model reads one
        sample at a time with its own attention, for models that `learner.proof` cannot pack.
        """
        self.model_dir, self.packed = model_dir, packed
        self.settings, self.rank, self.world_size, self.temperature = settings, rank, world_size, temperature
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.version = 0
        _join(self.device, rank, world_size, init_method)
        self.module = read_model(model_dir, settings, self.device, packed=packed)
        self.chat = Chat(read_tokenizer(model_dir), template_arguments)
        # The initial model: the KL reference, and the frozen weights of LoRA.
        self.reference_mark = fingerprint(self.module) if settings.kl_weight or settings.lora_rank else ""
        if settings.lora_rank:
            adapt(self.module, settings)
        self.engine = self._start()
        self.reference = self._start_reference(model_dir)

    def update(self, batch: Batch) -> Update:
        """Runs one optimizer step, or `epochs` of them. Batches without a signal raise only the version.

        Raises ValueError for a sample longer than the token budget, and RuntimeError when loss or gradient are not
        finite; discard the weights then.
        """
        started, number = time.perf_counter(), self.version + 1
        torch.manual_seed(seed_of("update", number, self.rank))
        soft = self.settings.overlong == "soft"
        samples = [sequence_of(s) for s in batch.samples if s.token_ids and (soft or not s.truncated)]
        weight = self.settings.distill_weight_at(number)
        lessons = self._lessons(batch) if weight > 0 else []
        scale = BatchCounts.of(samples, lessons, weight)
        lr, norm = self.settings.lr_at(number), 0.0
        sums, gap_max = dict.fromkeys(SUMS, 0.0), 0.0
        if samples or lessons:
            sums, gap_max, norm = self._learn([*samples, *lessons], scale, number, lr)
        self.version = number
        metrics = metrics_of(sums, scale, self.settings) | {
            "samples": len(samples),
            "logprob_gap_max": gap_max,
            "grad_norm": norm,
            "lr": lr,
            "seconds": time.perf_counter() - started,
        }
        return Update(version=number, metrics=metrics)

    def logprobs(self, token_ids: Sequence[int]) -> tuple[float, ...]:
        """[T-1] log-prob of each token after the first, given the tokens before it, at temperature 1."""
        self.module.eval()
        found = logprobs_of(self.module, token_ids, self.device)
        to_update_mode(self.module)
        return found

    def weights(self) -> bytes:
        """All weights as safetensors bytes with their Hugging Face names; empty on ranks other than 0."""
        from safetensors.torch import save

        tensors = self._gather()
        return save(tensors) if self.rank == 0 else b""

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Iterates over all whole weights with checkpoint names, tied weights once. All ranks must exhaust it together.

        Adapters are merged into the weights. A tensor is valid until the next one is requested.
        """
        import deepspeed

        for group in grouped(self.module, weights_of(self.module)):
            parts = [part for weight in group for part in weight.parts]
            with deepspeed.zero.GatheredParameters(parts, enabled=self.settings.zero_stage == 3):
                yield from as_saved(self.module, {weight.name: weight.whole() for weight in group}).items()

    def save(self, path: Path) -> None:
        """Writes a checkpoint from which `load` continues bit for bit. All ranks write to the directory `path`.

        Raises StorageFault.
        """
        with writing(path) if self.rank == 0 else nullcontext(aside(path)) as filling:
            dist.barrier()
            # With LoRA, only the adapters are saved: the frozen weights are the initial model's.
            adapted = self.settings.lora_rank > 0
            self.engine.save_checkpoint(str(filling), tag=TAG, save_latest=False, exclude_frozen_parameters=adapted)
            if self.rank == 0:
                (filling / STATE).write_text(json.dumps(self._shape() | self._progress()))
            dist.barrier()
        dist.barrier()

    def load(self, path: Path) -> None:
        """Restores weights, optimizer and version. Raises CheckpointError for damage or for different settings or
        models."""
        verify(path)
        state = json.loads((path / STATE).read_bytes())
        for name, wanted in self._shape().items():
            if state.get(name) != wanted:
                raise CheckpointError(
                    f"{path}: was written with {name} = {state.get(name)}, but this run has {wanted}; "
                    "resume with the settings it was written with"
                )
        mark = state.get("reference", self.reference_mark)
        if self.reference_mark and mark != self.reference_mark:
            raise CheckpointError(
                f"{path}: was begun with the model {mark}, but this run with {self.reference_mark}; "
                "resume with the model the run began with"
            )
        self.engine.load_checkpoint(str(path), tag=TAG, load_module_strict=not self.settings.lora_rank)
        self.version = int(state["version"])

    def export(self, path: Path) -> None:
        """Writes weights, configuration and tokenizer as a Hugging Face directory. Raises StorageFault."""
        tensors = self._gather()
        if self.rank == 0:
            with writing(path) as filling:
                self._write_model(filling, tensors)
        dist.barrier()

    def _write_model(self, folder: Path, tensors: dict[str, Tensor]) -> None:
        defaults = self.model_dir / GENERATION
        if defaults.is_file():
            # transformers refuses to save some generation configs that it can load, so the original file is copied.
            self.module.generation_config = type(self.module.generation_config)()
        self.module.save_pretrained(folder, state_dict=tensors, save_original_format=False)
        if defaults.is_file():
            shutil.copyfile(defaults, folder / GENERATION)
        self.chat.tokenizer.save_pretrained(folder)

    def close(self) -> None:
        """Leaves the process group. It is final: DeepSpeed cannot join twice in one process."""
        if dist.is_initialized():
            dist.destroy_process_group()

    def _start_reference(self, model_dir: Path) -> Any:
        """Loads the initial policy as KL reference, which never changes; None if not needed.

        Every rank holds a full copy; ZeRO-3 shards it. LoRA needs none: without adapters the policy is the initial one.
        """
        if not self.settings.kl_weight or self.settings.lora_rank:
            return None
        import deepspeed

        model = read_model(model_dir, self.settings, self.device, frozen=True, packed=self.packed)
        if self.settings.zero_stage < 3:
            return model.to(self.device)
        config = {
            "train_micro_batch_size_per_gpu": 1,
            "bf16": {"enabled": model.dtype == torch.bfloat16},
            "zero_optimization": {"stage": 3, "overlap_comm": False},
            "steps_per_print": 10**9,
        }
        engine, *_ = deepspeed.initialize(model=model, config=config)
        engine.eval()
        return engine

    def _start(self) -> Any:
        import deepspeed

        optimizer = torch.optim.AdamW(
            [parameter for parameter in self.module.parameters() if parameter.requires_grad],
            lr=self.settings.lr,
            betas=self.settings.betas,
            weight_decay=self.settings.weight_decay,
            fused=True,
        )
        rough = self.module.dtype == torch.bfloat16
        config = {
            "train_micro_batch_size_per_gpu": 1,
            # One step() is one update, for any number of micro-batches.
            "managed_gradient_accumulation": False,
            "gradient_clipping": self.settings.grad_clip,
            "bf16": {"enabled": rough},
            # Accumulating many micro-batches in bfloat16 would double the gradient's error.
            "data_types": {"grad_accum_dtype": "fp32"} if rough else {},
            "zero_optimization": {"stage": self.settings.zero_stage, "overlap_comm": False, **self._offloaded()},
            # Use torch's AdamW on the CPU too: DeepSpeed's own has to be compiled first.
            "zero_force_ds_cpu_optimizer": False,
            "steps_per_print": 10**9,
        }
        engine, *_ = deepspeed.initialize(model=self.module, optimizer=optimizer, config=config)
        return engine

    def _offloaded(self) -> dict[str, Any]:
        there = {"device": "cpu", "pin_memory": self.device == "cuda"}
        parts = {"none": (), "optimizer": ("offload_optimizer",), "all": ("offload_optimizer", "offload_param")}
        return dict.fromkeys(parts[self.settings.offload], there)

    def _lessons(self, batch: Batch) -> list[TokenSequence]:
        seen = [
            TokenSequence(prompt_ids=one.prompt_ids, token_ids=one.token_ids, lesson=True, shown_ids=one.shown_ids)
            for one in batch.hindsights
        ]
        return [*map(self._piece, batch.lessons), *seen]

    def _piece(self, lesson: FeedbackTarget) -> TokenSequence:
        target = self.chat.tokenizer(lesson.target, add_special_tokens=False)["input_ids"]
        return TokenSequence(prompt_ids=self.chat.prompt_ids(lesson.messages), token_ids=target, lesson=True)

    def _learn(
        self, pieces: list[TokenSequence], scale: BatchCounts, number: int, lr: float
    ) -> tuple[dict[str, float], float, float]:
        """Runs all steps on a batch; returns the mean sums, the largest log-prob gap and the largest gradient norm."""
        shared = families(pieces, self._largest(pieces)) if self.packed else alone(pieces)
        deal = pack if self.packed else one_a_row
        rows = deal([family.longest for family in shared], self.settings.token_budget, self.world_size)
        mine = rows[self.rank :: self.world_size]
        # All ranks have a teacher row for each row, or none has: under ZeRO-3 all must run equally many forwards.
        teach = any(piece.shown_ids for piece in pieces)
        work = [self._work([shared[index] for index in indices], teach) for indices in mine]
        sums, gap_max, norm = torch.zeros(len(SUMS), dtype=torch.float64, device=self.device), 0.0, 0.0
        for _ in range(self.settings.epochs):
            found, gap = self._accumulate(work, scale, number)
            sums, gap_max, norm = sums + found, max(gap_max, gap), max(norm, self._step(lr, number))
        return dict(zip(SUMS, (sums / self.settings.epochs).tolist(), strict=True)), gap_max, norm

    def _largest(self, pieces: list[TokenSequence]) -> int:
        """Maximum tokens of a prefix group; small with several ranks, so that their loads balance."""
        budget, ranks = self.settings.token_budget, self.world_size
        return budget if ranks == 1 else min(budget, sum(piece.length for piece in pieces) // (4 * ranks))

    def _work(self, shared: list[PrefixGroup], teach: bool) -> Work:
        shown = alone(piece.taught() for family in shared for piece in family.pieces if piece.shown_ids)
        return Work(row=pack_tensors(shared, self.device), shown=pack_tensors(shown, self.device) if teach else None)

    def _accumulate(self, work: list[Work], scale: BatchCounts, number: int) -> tuple[Tensor, float]:
        """Accumulates gradients of this rank's rows; returns the sums and the largest gap over all ranks."""
        sums = torch.zeros(len(SUMS), dtype=torch.float64, device=self.device)
        gap_max = torch.zeros((), device=self.device)
        for item in work:
            if self.settings.kl_weight and item.reference_T is None:
                item.reference_T = self._under_reference(item.row)
            found = row_loss(
                logits_of(self.engine, item.row),
                item.row,
                scale,
                self.settings,
                self.temperature,
                old_T=item.old_T,
                reference_T=item.reference_T,
                teacher_TV=self._teach(item.shown),
            )
            if item.old_T is None:
                item.old_T = found.logprobs_T
            # DeepSpeed averages over ranks; the sum is needed.
            self.engine.backward(found.loss * self.world_size, scale_wrt_gas=False)
            sums += found.sums
            gap_max = torch.maximum(gap_max, found.gap_max)
        dist.all_reduce(sums)
        dist.all_reduce(gap_max, dist.ReduceOp.MAX)
        if not sums.isfinite().all():
            named = dict(zip(SUMS, sums.tolist(), strict=True))
            raise RuntimeError(f"update {number}: the loss is not finite ({named}); this step changed no weight")
        return sums, gap_max.item()

    @torch.no_grad()
    def _teach(self, shown: PackedRow | None) -> Tensor | None:
        return None if shown is None else logits_of(self.engine, shown).float().log_softmax(-1)

    @torch.no_grad()
    def _under_reference(self, row: PackedRow) -> Tensor:
        if self.reference is not None:
            logits_TV = logits_of(self.reference, row)
        else:
            with base_alone(self.module):
                logits_TV = logits_of(self.engine, row)
        return likelihood(logits_TV, row.targets_T, temperatures(row, self.temperature))[0]

    def _step(self, lr: float, number: int) -> float:
        for group in self.engine.optimizer.param_groups:
            group["lr"] = lr
        self.engine.step()
        norm = float(self.engine.get_global_grad_norm())
        if not torch.tensor(norm).isfinite():
            raise RuntimeError(f"update {number}: the gradient's norm is {norm}; go back to the last checkpoint")
        return norm

    def _gather(self) -> dict[str, Tensor]:
        """Contiguous CPU copies of all weights on rank 0; empty on the other ranks."""
        tensors: dict[str, Tensor] = {}
        for name, tensor in self.tensors():
            if self.rank == 0:
                tensors[name] = tensor.to("cpu", copy=True).contiguous()
        return tensors

    def _progress(self) -> dict[str, Any]:
        """Checkpoint metadata besides `_shape`: the version and the fingerprint of the initial model."""
        reference = {"reference": self.reference_mark} if self.reference_mark else {}
        return {"version": self.version, **reference}

    def _shape(self) -> dict[str, Any]:
        parameters = sum(getattr(p, "ds_numel", p.numel()) for p in self.module.parameters())
        own = self.settings
        lora = [own.lora_rank, own.lora_alpha, sorted(own.lora_targets)] if own.lora_rank else None
        return {"lora": lora, "parameters": parameters, "ranks": self.world_size, "zero_stage": own.zero_stage}


def _join(device: str, rank: int, world_size: int, init_method: str) -> None:
    """Joins the process group, and stops DeepSpeed from creating its own."""
    os.environ.setdefault("LOCAL_RANK", "0")
    if device == "cpu":
        os.environ["DS_ACCELERATOR"] = "cpu"
    import deepspeed
    from deepspeed.utils import logger

    logger.setLevel(logging.WARNING)
    # The shared-memory operator is for inference only, and would take a minute to compile here.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not dist.is_initialized():
        # Before DeepSpeed, which would pass a device id: that makes weight syncs hang on GPU.
        backend = "nccl" if device == "cuda" else "gloo"
        if world_size > 1:
            choose_interface(init_method)
        dist.init_process_group(backend, init_method=init_method, rank=rank, world_size=world_size)
