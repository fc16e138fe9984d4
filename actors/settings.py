"""The hands: policy engines, browsers and critics."""

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from actors.judge_api.address import normal
from rollout.settings import Settings


class PolicySettings(Settings):
    """vLLM policy engines."""

    engines: int = Field(default=1, ge=1)
    """Engines, each an actor of its own."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs an engine's weights are split over."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Numbers the engine computes with; `auto` is float32 on CPU and bfloat16 on GPU."""
    max_model_len: int | None = Field(default=None, ge=16)
    """Tokens a prompt and its completion may have together; None is what the model allows."""
    max_num_seqs: int = Field(default=64, ge=1)
    """Completions an engine writes at once; more wait their turn."""
    threads: int = Field(default=1, ge=1)
    """CPU only: threads an engine computes with. They are not pinned, for browsers share the cores."""
    kv_cache_gib: float = Field(default=1.0, gt=0.0)
    """CPU only: memory for keys and values, in GiB."""
    gpu_memory_utilization: float = Field(default=0.9, gt=0.0, le=1.0)
    """GPU only: share of the memory an engine may take; less where the learner lives on the same GPU."""
    transfer: Literal["auto", "shared_memory", "gloo", "nccl", "ipc"] = "auto"
    """How weights come to an engine: as one object through `shared_memory`, a bucket at a time by broadcasts from the
    learner between CPUs (`gloo`) or whole GPUs (`nccl`), or out of a learner rank's memory on the same GPU (`ipc`).
    `auto` is `ipc` or `nccl` where `[cluster]` gives engines and learner GPUs for it, else `shared_memory`."""
    start_timeout_s: float = Field(default=600.0, gt=0.0)
    """Seconds an engine may take to start and write its first token."""
    template_arguments: dict[str, bool | int | float | str] = Field(default_factory=dict)
    """Arguments of the model's chat template: `{enable_thinking = false}` for Qwen 3. A template that writes the time
    is given the same one in every run."""
    call_timeout_s: float = Field(default=120.0, gt=0.0)
    """Seconds a ping, a canary or one step of a weight sync may take before the engine counts as lost."""


FULL_PAGE_HEIGHT = 4096
"""Of `browser.full_page_height` where a multimodal critic judges: five screens, and 5,500 tokens of most judges."""


class BrowserSettings(Settings):
    """Headless browsers."""

    count: int = Field(default=1, ge=1)
    """Browsers, each an actor with a Chromium process of its own; one a core."""
    executable: Path | None = None
    """Chromium's headless shell; None looks for an installed one."""
    sandbox: Literal["auto", "required"] = "auto"
    """`auto` takes the best isolation the machine allows, and says so where that is not all of it;
    `required` refuses to start without namespaces and Chromium's own sandbox."""
    viewport_width: int = Field(default=1024, ge=64, le=4096)
    """In CSS pixels."""
    viewport_height: int = Field(default=768, ge=64, le=4096)
    """In CSS pixels."""
    full_page_height: int | None = Field(default=None, ge=0, le=16_000)
    """CSS pixels from the top that one more picture shows of a page taller than the screen, after the page was scrolled
    through once; 0 takes none. None is 4,096 where a multimodal critic judges, else 0."""
    shots_ms: tuple[int, ...] = Field(default=(0, 1000, 2000), min_length=1, max_length=16)
    """Page times of the pictures, in milliseconds, rising; nobody waits for them."""
    probe_shots: bool = False
    """One more picture after each probe, for reports."""
    explore: int = Field(default=0, ge=0, le=32)
    """Controls that are operated on a page without probes, with a picture after each, for multimodal critics."""
    cpu_budget_s: float = Field(default=4.0, gt=0.0)
    """Seconds of CPU a page may use before it counts as hung; the slowest benign pages need half of one."""
    wall_s: float = Field(default=30.0, gt=0.0)
    """Seconds a page may take by the wall's clock, on a machine that others keep busy."""
    mirror: Path | None = None
    """Folder of libraries and fonts that pages may load from the addresses of public CDNs, as `cluster.mirror build`
    makes it, on every browser's node; None refuses every request, and tells the policy so."""
    memory_mb: int = Field(default=1200, ge=256)
    """Data a browser process may allocate, in MiB (RLIMIT_DATA)."""
    cache_mb: int = Field(default=1024, ge=0)
    """MiB of renders kept on disk between runs, those used last; 0 keeps none."""
    recycle_pages: int = Field(default=1000, ge=1)
    """Pages after which a browser is replaced by a fresh one."""


class CriticSettings(Settings):
    """One critic."""

    kind: Literal["visual", "http"] = "visual"
    """`visual` is the embedded reference-based critic; `http` a multimodal model behind an OpenAI-compatible server."""
    weight: float = Field(default=1.0, gt=0.0, allow_inf_nan=False)
    """What its judgment weighs among those of several critics; only the ratio to the others matters."""
    base_url: str = ""
    """`http`: address of the server up to and including its version, such as `http://judge:8000/v1`; a slash or the
    path of a request at its end is left out, and Azure's may end with `?api-version=…`. Empty where the run serves the
    judge itself (`judge.model`)."""
    model: str = ""
    """`http`: name of the model at that server."""
    key_env: str = ""
    """`http`: name of the environment variable that holds the server's key on the critics' nodes; empty for none."""
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    """`http`: the judge's sampling temperature."""
    judgments: int = Field(default=1, ge=1, le=16)
    """`http`: judgments of one page whose mean is its score; each is sampled with a seed of its own. Comparisons are
    asked once in each order."""
    answer_format: Literal["json_schema", "json_object", "text"] = "json_schema"
    """`http`: how the server is told to answer in JSON; for servers that cannot constrain it, `text`."""
    max_tokens: int = Field(default=1024, ge=64)
    """`http`: tokens an answer may have, a reasoning model's thought included; one that is cut there is asked for
    again."""
    tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """`http`: the parameter that `max_tokens` is sent as."""
    omit: tuple[Literal["temperature", "seed", "max_tokens"], ...] = ()
    """`http`: parameters that are not sent, for servers that refuse them."""
    extra_body: dict[str, Any] = Field(default_factory=dict)
    """`http`: further fields of each request, such as `{reasoning_effort = "low"}`."""
    max_pictures: int = Field(default=16, ge=1, le=16)
    """`http`: pictures a request may show, shared by the two pages of a comparison, that of the whole page first; how
    many were left out is said."""
    one_picture: bool = False
    """`http`: each picture is sent in a message of its own, for servers that take one a message."""
    picture_format: Literal["png", "jpeg", "webp"] = "png"
    """`http`: format of the pictures."""
    picture_quality: int = Field(default=90, ge=1, le=100)
    """`http`: quality of JPEG and WebP."""
    picture_side: int = Field(default=8000, ge=64)
    """`http`: pixels of a picture's longer side; larger ones are scaled down."""
    picture_mb: float = Field(default=5.0, gt=0.0)
    """`http`: megabytes a picture may take in a request; larger ones are sent as JPEG, then scaled down."""
    request_mb: float = Field(default=20.0, gt=0.0)
    """`http`: megabytes a request may take; its pictures have equal shares."""
    timeout_s: float = Field(default=120.0, gt=0.0)
    """`http`: seconds one request may be silent."""
    deadline_s: float = Field(default=300.0, gt=0.0)
    """`http`: seconds a judgment may take, however busy or gone the server is, before it is a fault."""
    retries: int = Field(default=2, ge=0)
    """`http`: times a critic is asked again after an answer that is no judgment."""
    in_flight: int = Field(default=32, ge=1)
    """`http`: requests one critic may have under way; how many it has is found by trying."""
    hedge_share: float = Field(default=0.05, ge=0.0, le=1.0)
    """`http`: share of requests that may be sent twice because the first is a straggler."""
    max_total_tokens: int | None = Field(default=None, ge=1)
    """`http`: tokens this critic may cost in a run, resumes included, its copies taking equal shares; then the run
    stops in order, and can be resumed once it may cost more."""

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
    """The critics of a run: one, or several whose weighted mean counts. What is said of one critic here is said of the
    first, whose name in records is its kind."""

    count: int = Field(default=1, ge=1)
    """Critic actors; each asks all critics."""
    also: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")], CriticSettings] = Field(
        default_factory=dict
    )
    """Further critics by name. Each judges every page, a score is the weighted mean of all, and where one gives no
    judgment there is none: `[critic.also.looks]` with `kind = "visual"` and `weight = 0.5`."""
    drift_every: int = Field(default=0, ge=0)
    """Steps between two judgments of a fixed set of pages, which are compared with the run's first; 0 for none."""
    drift_limit: float = Field(default=0.05, gt=0.0, lt=1.0)
    """Mean difference of the scores of that set from which on the judge has drifted, and the report says so. It should
    be more than the judge's own noise, which `cluster.calibrate` measures."""

    @property
    def members(self) -> dict[str, CriticSettings]:
        """All critics by name, the first one first."""
        return {self.kind: self, **self.also}

    @property
    def served(self) -> list[CriticSettings]:
        """Those who ask a judge that the run serves itself: HTTP critics without an address."""
        return [one for one in self.members.values() if one.kind == "http" and not one.base_url]

    @property
    def served_as(self) -> str:
        """The name of the model that the run serves; empty where it serves none."""
        return next((one.model for one in self.served), "")

    @property
    def at_once(self) -> int:
        """Judgments that one actor works on at once, as far as its servers allow."""
        return min((judge.in_flight for judge in self.members.values() if judge.kind == "http"), default=1)

    @model_validator(mode="after")
    def _names_differ(self) -> "CriticsSettings":
        if self.kind in self.also:
            raise ValueError(f"critic.also.{self.kind}: {self.kind!r} is the name of the first critic; choose another")
        return self
