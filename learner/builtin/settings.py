"""Settings of the built-in policy's architecture and pre-training; needs no torch, so the driver can import it."""

from typing import Literal

from pydantic import Field

from rollout.settings import Settings


class WarmStartSettings(Settings):
    """The recipe of the built-in policy. The weights of these defaults are shipped; those of any other recipe are
    pre-trained on first use, and are the same each time on the same machine."""

    seed: int = Field(default=0, ge=0)
    """Seed of all randomness in the recipe; another gives another initial policy."""
    steps: int = Field(default=2400, ge=1)
    """Optimizer steps; fewer give a weaker policy sooner, for tests."""
    hidden: int = Field(default=256, ge=64, multiple_of=64)
    """Width of the model, each attention head is 64 wide; smaller for tests."""
    layers: int = Field(default=5, ge=1)
    """Transformer layers; fewer for tests."""
    vocab: int = Field(default=1856, ge=512)
    """Vocabulary size in tokens, learnt from the corpus; smaller for tests."""
    context: int = Field(default=2048, ge=512)
    """Context length in tokens; raise it with `episode.max_tokens`."""
    threads: int = Field(default=2, ge=1)
    """Threads of the pre-training; raise it if cores are idle. Part of the recipe: another order of summation gives
    other bits."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` computes in bf16 on CPUs with matrix units for it (2.5 times faster), otherwise in fp32. Name one for the
    same recipe on different machines."""
