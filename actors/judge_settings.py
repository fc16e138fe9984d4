"""The judge: a multimodal model that a run serves itself, for critics to ask."""

from pydantic import Field

from rollout.settings import Settings


class JudgeSettings(Settings):
    """vLLM servers of one vision-language model."""

    model: str = ""
    """Hugging Face directory of the model on the judges' nodes, which is served as `critic.model`; empty where
    `critic.base_url` says who is asked."""
    count: int = Field(default=1, ge=1)
    """Servers, each an actor's; the critics are shared out among them."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs a server's weights are split over."""
    max_model_len: int | None = Field(default=None, ge=1024)
    """Tokens a question, its pictures and the answer may have together; None is what the model allows."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Judgments a server makes at once; more wait their turn."""
    threads: int = Field(default=1, ge=1)
    """CPU only: threads a server computes with."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0)
    """CPU only: memory for keys and values, in GiB."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    """GPU only: share of the memory a server may take."""
    start_timeout_s: float = Field(default=600.0, gt=0.0)
    """Seconds a server may take to load its weights and look at its first picture."""
    call_timeout_s: float = Field(default=120.0, gt=0.0)
    """Seconds without a sign of health after which a server counts as lost, and is made again."""
