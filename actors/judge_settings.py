"""Settings of the judge: a multimodal model that the run serves itself for its critics."""

from pydantic import Field

from rollout.settings import Settings


class JudgeSettings(Settings):
    """The vLLM servers of one vision-language model."""

    model: str = ""
    """Hugging Face directory of the model on the judges' nodes, served under the name `critic.model`. Leave it empty
    when `critic.base_url` points to an existing server."""
    count: int = Field(default=1, ge=1)
    """Number of servers, one actor each; the critics are distributed over them."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs per server (tensor parallelism)."""
    max_model_len: int | None = Field(default=None, ge=1024)
    """Maximum tokens of a request: text, pictures and answer together. None uses the model's own limit."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Maximum judgments a server runs concurrently; further requests are queued."""
    threads: int = Field(default=1, ge=1)
    """CPU only: compute threads per server."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0)
    """CPU only: size of the KV cache, in GiB."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    """GPU only: fraction of the GPU's memory a server may use."""
    start_timeout_s: float = Field(default=600.0, gt=0.0)
    """Timeout in seconds for loading the weights and answering the first request with a picture."""
    call_timeout_s: float = Field(default=120.0, gt=0.0)
    """Seconds of failing health checks after which a server counts as lost and is restarted."""
