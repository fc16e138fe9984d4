"""Settings of the judge: a multimodal model that the run serves itself for its critics."""

from pydantic import Field

from rollout.settings import Settings


class JudgeSettings(Settings):
    """The vLLM servers of one vision-language model."""

    model: str = ""
    """Hugging Face directory on the judges' nodes, served as `critic.model`; empty when `critic.base_url` names a
    server."""
    count: int = Field(default=1, ge=1)
    """Servers, one actor each; critics are distributed over them. Raise it when judging is the bottleneck."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs per server (tensor parallelism); raise it for a model that does not fit on one GPU."""
    max_model_len: int | None = Field(default=None, ge=1024)
    """Maximum tokens of question, pictures and answer; None is the model's limit. Lower it if the KV cache is too small
    for the limit."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Maximum concurrent judgments of a server; more are queued. Lower it if the server runs out of memory."""
    threads: int = Field(default=1, ge=1)
    """CPU only: threads per server; raise it if cores are idle."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0)
    """CPU only: KV cache in GiB; raise it for more concurrent judgments."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    """GPU only: fraction of the GPU's memory a server may use; raise it for large models on GPUs of their own."""
    start_timeout_s: float = Field(default=600.0, gt=0.0)
    """Timeout in seconds to load the weights and answer about a first picture; raise it for large models on slow
    disks."""
    call_timeout_s: float = Field(default=120.0, gt=0.0)
    """Seconds without a successful health check after which a server is restarted; raise it on busy machines."""
