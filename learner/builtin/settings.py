"""What the built-in policy is and how it is pre-trained; needs no torch, so the driver may read it."""

from typing import Literal

from pydantic import Field, model_validator

from rollout.settings import Settings


class WarmStartSettings(Settings):
    """The recipe of the built-in policy. The same recipe gives the same weights on the same machine."""

    seed: int = Field(default=0, ge=0)
    """All randomness of the recipe comes from it."""
    steps: int = Field(default=480, ge=1)
    """Optimizer steps."""
    batch_tokens: int = Field(default=4096, ge=256)
    """Tokens of a step, padding included."""
    lr: float = Field(default=0.02, gt=0)
    """Peak learning rate of the matrices (Muon)."""
    embedding_lr: float = Field(default=0.004, gt=0)
    """Peak learning rate of embeddings, head and norms (AdamW)."""
    broken_share: float = Field(default=0.79, ge=0, lt=1)
    """Share of first pages that are broken on purpose: what reinforcement learning has to unlearn."""
    hidden: int = Field(default=256, ge=64, multiple_of=64)
    """Width of the model; a head is 64 wide."""
    layers: int = Field(default=5, ge=1)
    """Transformer layers."""
    vocab: int = Field(default=2048, ge=512)
    """Tokens of the vocabulary, learnt from the corpus."""
    context: int = Field(default=2048, ge=512)
    """Tokens the model can attend to."""
    threads: int = Field(default=2, ge=1)
    """Threads of the pre-training. Part of the recipe: sums in another order give other bits."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` computes in bf16 on processors with matrix units for it (2.5 times faster), else in fp32."""

    @model_validator(mode="after")
    def _one_row_fits(self) -> "WarmStartSettings":
        if self.batch_tokens < self.context:
            raise ValueError(f"batch_tokens must be at least context ({self.context}), got {self.batch_tokens}")
        return self
