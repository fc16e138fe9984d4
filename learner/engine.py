"""The learner's engine: trains a Hugging Face causal language model, one process per rank.

Every rank makes every call and computes the same global sums, so an update does not depend on the number of ranks.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist

from learner.batch_trainer import BatchTrainer, TrainingSums
from learner.chat import Chat
from learner.checkpoint import aside, verify, writing
from learner.deepspeed_engine import join, start_reference, start_training, whole_weights
from learner.lora import adapt
from learner.losses.batch_counts import BatchCounts
from learner.losses.row_loss import SUMS, metrics_of
from learner.model import fingerprint, logprobs_of, read_model, read_tokenizer, to_update_mode, write_model
from learner.packing import TokenSequence, sequence_of
from learner.settings import LearnerSettings
from rollout.errors import CheckpointError
from rollout.records import Batch, Demonstration, FeedbackTarget, Update
from rollout.seeds import seed_of

STATE = "learner.json"
TAG = "deepspeed"


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
        self.model_dir = model_dir
        self.settings = settings
        self.rank = rank
        self.world_size = world_size
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.version = 0
        join(self.device, rank, world_size, init_method)
        self.module = read_model(model_dir, settings, self.device, packed=packed)
        self.chat = Chat(read_tokenizer(model_dir), template_arguments)
        # The initial model: the KL reference, and the frozen weights of LoRA.
        self.reference_mark = fingerprint(self.module) if settings.kl_weight or settings.lora_rank else ""
        if settings.lora_rank:
            adapt(self.module, settings)
        self.engine = start_training(self.module, settings, self.device)
        self.reference: Any = None
        if settings.kl_weight and not settings.lora_rank:  # With LoRA, the policy without adapters is the reference.
            initial = read_model(model_dir, settings, self.device, frozen=True, packed=packed)
            self.reference = start_reference(initial, settings, self.device)
        self.trainer = BatchTrainer(
            self.engine,
            settings,
            reference=self.reference,
            rank=rank,
            world_size=world_size,
            device=self.device,
            temperature=temperature,
            packed=packed,
        )

    def update(self, batch: Batch) -> Update:
        """Runs one optimizer step, or `epochs` of them. Batches without a signal raise only the version.

        Raises ValueError for a sample longer than the token budget, and RuntimeError when loss or gradient are not
        finite; discard the weights then.
        """
        started = time.perf_counter()
        number = self.version + 1
        torch.manual_seed(seed_of("update", number, self.rank))
        soft = self.settings.overlong == "soft"
        samples = [sequence_of(s) for s in batch.samples if s.token_ids and (soft or not s.truncated)]
        weight = self.settings.distill_weight
        lessons = self._lessons(batch) if weight > 0 else []
        counts = BatchCounts.of(samples, lessons, weight)
        lr = self.settings.lr_at(number)
        trained = TrainingSums(sums=dict.fromkeys(SUMS, 0.0))
        if samples or lessons:
            trained = self.trainer.train([*samples, *lessons], counts, number, lr)
        self.version = number
        metrics = metrics_of(trained.sums, counts, self.settings) | {
            "samples": len(samples),
            "logprob_gap_max": trained.gap_max,
            "grad_norm": trained.grad_norm,
            "lr": lr,
            "seconds": time.perf_counter() - started,
        }
        return Update(version=number, metrics=metrics)

    def _lessons(self, batch: Batch) -> list[TokenSequence]:
        seen = [
            TokenSequence(prompt_ids=one.prompt_ids, token_ids=one.token_ids, lesson=True, shown_ids=one.shown_ids)
            for one in batch.hindsights
        ]
        return [*map(self._lesson, batch.lessons), *seen, *map(_demonstrated, batch.demonstrations)]

    def _lesson(self, lesson: FeedbackTarget) -> TokenSequence:
        target = self.chat.tokenizer(lesson.target, add_special_tokens=False)["input_ids"]
        return TokenSequence(prompt_ids=self.chat.prompt_ids(lesson.messages), token_ids=target, lesson=True)

    def losses(self, demonstrations: Sequence[Demonstration]) -> tuple[float, ...]:
        """[N] cross-entropy of each demonstration in nats, summed over the tokens of its answer.

        Raises ValueError for a demonstration longer than the token budget.
        """
        return self.trainer.losses([_demonstrated(one) for one in demonstrations])

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
        """Iterates over all whole weights; see `learner.deepspeed_engine.whole_weights`."""
        return whole_weights(self.module, sharded=self.settings.zero_stage == 3)

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
                f"{path}: was written by a run of the initial model {mark}, but this run has {self.reference_mark}; "
                "resume with the initial model of that run"
            )
        self.engine.load_checkpoint(str(path), tag=TAG, load_module_strict=not self.settings.lora_rank)
        self.version = int(state["version"])

    def export(self, path: Path) -> None:
        """Writes weights, configuration and tokenizer as a Hugging Face directory. Raises StorageFault."""
        tensors = self._gather()
        if self.rank == 0:
            with writing(path) as filling:
                write_model(filling, self.module, tensors, self.chat.tokenizer, self.model_dir)
        dist.barrier()

    def close(self) -> None:
        """Leaves the process group. It is final: DeepSpeed cannot join twice in one process."""
        if dist.is_initialized():
            dist.destroy_process_group()

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


def _demonstrated(demonstration: Demonstration) -> TokenSequence:
    return TokenSequence(prompt_ids=demonstration.prompt_ids, token_ids=demonstration.token_ids, lesson=True)
