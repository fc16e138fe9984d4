"""Settings of policy engines, browsers and critics."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from actors.judge_api.address import normal
from rollout.settings import Settings


class PolicySettings(Settings):
    """The vLLM policy engines."""

    engines: int = Field(default=1, ge=1)
    """Engines, one actor each; raise it when generation is the bottleneck (`cluster.plan`)."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs per engine, on all its nodes (tensor parallelism); raise it for a model that does not fit on one GPU."""
    nodes: int = Field(default=1, ge=1)
    """Nodes per engine, `tensor_parallel / nodes` GPUs on each; raise it for a model that does not fit on the GPUs of
    one node. Each layer then waits for the network: prefer one node."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Data type of the computation; `auto` is float32 on CPU and bfloat16 on GPU. Set float32 to rule out rounding."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Maximum tokens of prompt and completion; None is the model's limit. Lower it if the KV cache is too small for the
    limit."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Maximum concurrent completions of an engine; more are queued. Raise it on GPUs with memory to spare."""
    threads: int = Field(default=1, ge=1)
    """CPU only: threads per engine, not pinned, because browsers share the cores; raise it if cores are idle."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0)
    """CPU only: KV cache in GiB; raise it for longer or more concurrent completions."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    """GPU only: fraction of the GPU's memory an engine may use; lower it when the learner shares the GPU."""
    transfer: Literal["auto", "shared_memory", "gloo", "nccl", "ipc"] = "auto"
    """How weights reach an engine: one object through `shared_memory`, buckets by broadcasts from the learner between
    CPUs (`gloo`) or whole GPUs (`nccl`), or the memory of a learner rank on the same GPU (`ipc`). `auto` is `ipc` or
    `nccl` where `[cluster]` gives engines and learner GPUs for it, `gloo` for engines of several nodes without GPUs,
    else `shared_memory`; name one to compare them."""
    sleep_level: Literal[0, 1, 2] = 0
    """Memory that an engine on the learner's GPU releases during an update: 0 none; 1 its KV cache, while its weights
    move to main memory; 2 both, as the next sync brings new weights: the fastest. On a CPU, only its requests wait."""
    start_timeout_s: float = Field(default=600.0, gt=0.0)
    """Timeout in seconds to start an engine and generate a token; raise it for large models on slow disks."""
    template_arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Arguments of the model's chat template: `{enable_thinking = false}` for Qwen 3. Templates that print the time get
    the same fixed time in every run."""
    call_timeout_s: float = Field(default=120.0, gt=0.0)
    """Timeout in seconds of a ping, a canary check or a step of a weight sync; then the engine counts as lost. Raise it
    for large models on slow networks."""


FULL_PAGE_HEIGHT = 4096
"""`browser.full_page_height` with a multimodal critic: five screens, or 5,500 tokens of most judges."""


class BrowserSettings(Settings):
    """The headless browsers."""

    count: int = Field(default=1, ge=1)
    """Browsers, one actor and Chromium process each; one per core."""
    executable: Path | None = None
    """Path of Chromium's headless shell; None searches for it. Set it to select one of several."""
    sandbox: Literal["auto", "required"] = "auto"
    """`auto` uses the best isolation the machine supports and reports when it is incomplete; `required`, for machines
    shared with others, refuses to start without namespaces and Chromium's sandbox."""
    viewport_width: int = Field(default=1024, ge=64, le=4096)
    """Viewport width in CSS pixels; smaller viewports render faster."""
    viewport_height: int = Field(default=768, ge=64, le=4096)
    """Viewport height in CSS pixels; smaller viewports render faster."""
    full_page_height: int | None = Field(default=None, ge=0, le=16_000)
    """CSS pixels from the top in an extra screenshot of pages taller than the viewport, taken after scrolling through
    the page once; 0 takes none, to save a judge's tokens. None is 4,096 with a multimodal critic, else 0."""
    shots_ms: tuple[int, ...] = Field(default=(0, 1000, 2000), min_length=1, max_length=16)
    """Page times of the screenshots in milliseconds, ascending; virtual, so rendering does not wait for them. Add times
    for slow animations, remove some to save a judge's tokens."""
    explore: int = Field(default=0, ge=0, le=32)
    """Controls to operate on a page without probes, with a screenshot after each; set it for multimodal critics and
    tasks without probes."""
    cpu_budget_s: float = Field(default=4.0, gt=0.0)
    """CPU seconds after which a page counts as hung; the slowest benign pages need half a second. Raise it for slow
    processors or tasks with heavy pages."""
    wall_s: float = Field(default=30.0, gt=0.0)
    """Wall-clock timeout of a page in seconds; raise it on busy machines."""
    mirror: Path | None = None
    """Folder of libraries and fonts served at the addresses of public CDNs, from `cluster.mirror build`, on every
    browser's node. None blocks every request, as stated in the policy's prompt."""
    memory_mb: int = Field(default=1200, ge=256)
    """Data limit of a browser process in MiB (RLIMIT_DATA); raise it for tasks with large canvases."""
    cache_mb: int = Field(default=1024, ge=0)
    """Size of the render cache in MiB, kept between runs, least recently used renders removed first; 0 disables it, to
    measure rendering."""
    recycle_pages: int = Field(default=1000, ge=1)
    """Pages after which a browser is restarted; lower it if the memory of browsers grows."""

    @property
    def full_page_px(self) -> int:
        """`full_page_height`, or 0 if it is unset; the settings of a run choose an unset one for the critics."""
        return self.full_page_height or 0


class CriticSettings(Settings):
    """Settings of one critic."""

    kind: Literal["visual", "http"] = "visual"
    """`visual` is the embedded reference-based critic, `http` a multimodal model behind an OpenAI-compatible server."""
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """Weight in the mean score of several critics; only the ratio matters."""
    base_url: str = ""
    """`http`: address of the server with its version, such as `http://judge:8000/v1`. Trailing slashes and request
    paths are removed; Azure's may end with `?api-version=…`. Empty when the run serves the judge (`judge.model`)."""
    model: str = ""
    """`http`: model name at that server."""
    key_env: str = ""
    """`http`: environment variable with the server's key on the critics' nodes; empty for none."""
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """`http`: the judge's sampling temperature; above 0, `judgments` differ and can be averaged."""
    judgments: int = Field(default=1, ge=1, le=16)
    """`http`: judgments averaged for a page's score, each with its own seed; raise it for a noisy judge. Comparisons
    are requested once in each order."""
    answer_format: Literal["json_schema", "json_object", "text"] = "json_schema"
    """`http`: how JSON answers are requested; `text` for servers without constrained decoding."""
    max_tokens: int = Field(default=1024, ge=64)
    """`http`: maximum tokens of an answer, thoughts included; a truncated answer is requested again. Raise it for
    judges that think."""
    tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """`http`: request parameter that carries `max_tokens`; newer servers want `max_completion_tokens`."""
    omit: tuple[Literal["temperature", "seed", "max_tokens"], ...] = ()
    """`http`: parameters not sent, for servers that reject them."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """`http`: extra fields of each request, such as `{reasoning_effort = "low"}`."""
    max_pictures: int = Field(default=16, ge=1, le=16)
    """`http`: maximum pictures per request, shared by both pages of a comparison, full-page screenshot first; lower it
    for servers with a lower limit. The request states how many were left out."""
    one_picture: bool = False
    """`http`: sends each picture in its own message, for servers limited to one per message."""
    picture_format: Literal["png", "jpeg", "webp"] = "png"
    """`http`: picture format; JPEG and WebP make smaller requests."""
    picture_quality: int = Field(default=90, ge=1, le=100)
    """`http`: JPEG and WebP quality."""
    picture_side: int = Field(default=8000, ge=64)
    """`http`: maximum pixels of a picture's longer side; larger ones are scaled down. Set it to the server's limit."""
    picture_mb: float = Field(default=5.0, gt=0.0)
    """`http`: maximum megabytes of a picture; larger ones are sent as JPEG, then scaled down. Set it to the server's
    limit."""
    request_mb: float = Field(default=20.0, gt=0.0)
    """`http`: maximum megabytes of a request, shared equally by its pictures. Set it to the server's limit."""
    timeout_s: float = Field(default=120.0, gt=0.0)
    """`http`: seconds without data after which a request times out; raise it for judges that think."""
    deadline_s: float = Field(default=300.0, gt=0.0)
    """`http`: deadline of a judgment in seconds, including waits for a busy or unreachable server; then it is a fault.
    Raise it to outlast a restart of the server."""
    retries: int = Field(default=2, ge=0)
    """`http`: retries after answers that are not judgments; raise it for judges that often miss the format."""
    in_flight: int = Field(default=32, ge=1)
    """`http`: maximum concurrent requests of one critic; the actual number adapts to the server. Lower it for a
    quota."""
    hedge_share: float = Field(default=0.05, ge=0.0, le=1.0)
    """`http`: maximum share of requests sent twice because the first is slow; 0 for servers that charge for both."""
    max_total_tokens: int | None = Field(default=None, ge=1)
    """`http`: token budget of this critic per run, resumes included, split equally among its copies. When it is spent
    the run stops cleanly and can be resumed with a larger one."""

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, base_url: str) -> str:
        return normal(base_url) if base_url else base_url

    @model_validator(mode="after")
    def _somewhere_to_ask(self) -> "CriticSettings":
        if self.kind != "http":
            return self
        address = urlsplit(self.base_url)
        if self.base_url and (address.scheme not in ("http", "https") or not address.hostname):
            raise ValueError(f"critic.base_url must be the http or https address of a server, got {self.base_url!r}")
        if address.username or address.password:
            raise ValueError("critic.base_url must not hold a password: name its variable in critic.key_env")
        if taken := {"model", "messages"} & set(self.extra_body):
            raise ValueError(f"critic.extra_body must not hold {min(taken)!r}, which each request has already")
        if not self.model:
            raise ValueError("critic.model must name the judge's model when critic.kind is 'http'")
        return self


class CriticsSettings(CriticSettings):
    """The critics of a run: one, or several with a weighted mean. Inherited fields configure the first critic; its name
    in records is its kind."""

    count: int = Field(default=1, ge=1)
    """Critic actors; each runs all critics. Raise it when judging is the bottleneck (`cluster.plan`)."""
    also: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")], CriticSettings] = Field(
        default_factory=dict
    )
    """Further critics by name, such as `[critic.also.looks]` with `kind = "visual"` and `weight = 0.5`. Each judges
    every page and the score is the weighted mean; if one gives no judgment, there is none."""
    drift_every: int = Field(default=0, ge=0)
    """Steps between judgments of a fixed page set, compared with the run's first; 0 for none. Set it for judges that
    their operator may change during a run."""
    drift_limit: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Mean score difference on that set from which the report states drift. Set it above the judge's noise, which
    `cluster.calibrate` measures."""

    @property
    def members(self) -> dict[str, CriticSettings]:
        """All critics by name, the first critic first."""
        return {self.kind: self, **self.also}

    @property
    def served(self) -> list[CriticSettings]:
        """HTTP critics without an address, which use the run's own judge."""
        return [one for one in self.members.values() if one.kind == "http" and not one.base_url]

    @property
    def served_as(self) -> str:
        """Name of the model that the run serves; empty for none."""
        return next((one.model for one in self.served), "")

    @property
    def at_once(self) -> int:
        """Concurrent judgments of one actor, limited by its servers."""
        return min((judge.in_flight for judge in self.members.values() if judge.kind == "http"), default=1)

    @model_validator(mode="after")
    def _names_differ(self) -> "CriticsSettings":
        if self.kind in self.also:
            raise ValueError(f"critic.also.{self.kind}: {self.kind!r} is the name of the first critic; choose another")
        return self
