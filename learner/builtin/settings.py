"""Settings of the built-in policy's architecture and pre-training; needs no torch, so the driver can import it."""

from typing import Literal

from pydantic import Field, model_validator

from rollout.settings import Settings


class WarmStartSettings(Settings):
    """The recipe of the built-in policy. The same recipe gives the same weights on the same machine."""

    seed: int = Field(default=0, ge=0)
    """Seed of all randomness in the recipe."""
    steps: int = Field(default=480, ge=1)
    """Optimizer steps."""
    batch_tokens: int = Field(default=4096, ge=256)
    """Tokens per step, padding included."""
    lr: float = Field(default=0.02, gt=0)
    """Peak learning rate of the matrices (Muon)."""
    embedding_lr: float = Field(default=0.004, gt=0)
    """Peak learning rate of embeddings, head and norms (AdamW)."""
    broken_share: float = Field(default=0.79, ge=0, lt=1)
    """Share of first pages that are broken on purpose, for reinforcement learning to remove."""
    hidden: int = Field(default=256, ge=64, multiple_of=64)
    """Width of the model; each attention head is 64 wide."""
    layers: int = Field(default=5, ge=1)
    """Transformer layers."""
    vocab: int = Field(default=2048, ge=512)
    """Vocabulary size in tokens, learnt from the corpus."""
    context: int = Field(default=2048, ge=512)
    """Context length in tokens."""
    threads: int = Field(default=2, ge=1)
    """Threads of the pre-training. Part of the recipe: another order of summation gives other bits."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` computes in bf16 on CPUs with matrix units for it (2.5 times faster), otherwise in fp32."""

    @model_validator(mode="after")
    def _one_row_fits(self) -> "WarmStartSettings":
        if self.batch_tokens < self.context:
            raise ValueError(f"batch_tokens must be at least context ({self.context}), got {self.batch_tokens}")
        return self
