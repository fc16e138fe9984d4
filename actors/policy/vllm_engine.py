"""A vLLM engine with its processes: requests under admission control, and calls with a deadline."""

import asyncio
import multiprocessing
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from pydantic import ValidationError

from actors.policy.admission import Admission
from actors.policy.engine_arguments import engine_config
from actors.policy.engine_node import EngineNode, engine_environment
from actors.settings import PolicySettings
from rollout.errors import EngineFault

T = TypeVar("T")


class VLLMEngine:
    """vLLM's asynchronous engine: every method raises EngineFault when the engine died or was not started."""

    def __init__(
        self,
        model_dir: str,
        settings: PolicySettings,
        *,
        seed: int,
        rank: int,
        admission: Admission,
        node: EngineNode | None = None,
    ) -> None:
        """With `node`, the engine waits for its followers on the other nodes (`actors.policy.follower`)."""
        self.model_dir = model_dir
        self.settings = settings
        self.seed = seed
        self.rank = rank
        self.name = admission.name
        self.admission = admission
        self.node = node
        self._vllm: Any = None
        self._calls = 0

    def build(self) -> None:
        """Starts vLLM's processes; blocks meanwhile. Raises the errors of vLLM."""
        with engine_environment(self.settings, self.node):
            from vllm.v1.engine.async_llm import AsyncLLM

            config = engine_config(self.model_dir, self.seed, self.settings, self.node)
            if self.settings.tensor_parallel == 1:
                # vLLM on CPU would start a separate worker process, which polls and occupies a core.
                config.parallel_config.distributed_executor_backend = "uni"
            self._vllm = AsyncLLM.from_vllm_config(config, disable_log_stats=True)

    def shutdown(self) -> None:
        """Stops the processes. Safe to call twice, and on an engine that died."""
        vllm = self._vllm
        self._vllm = None
        if vllm is not None:
            vllm.shutdown(timeout=5.0)
            multiprocessing.active_children()  # called for its side effect: reaps child processes that have ended

    def running(self) -> Any:
        """vLLM's `AsyncLLM`. Raises EngineFault when there is none, or its process died."""
        if self._vllm is None:
            raise EngineFault(f"{self.name} {self.admission.why}")
        if self._vllm.errored:
            raise EngineFault(f"{self.name} lost its engine")
        return self._vllm

    async def within(self, call: Coroutine[Any, Any, T], what: str) -> T:
        """Result of `call`. Raises EngineFault on a timeout or when the engine dies; vLLM would keep waiting."""
        task = asyncio.ensure_future(call)
        seconds = self.settings.call_timeout_s
        try:
            await asyncio.wait({task, self.running().output_handler}, timeout=seconds, return_when="FIRST_COMPLETED")
            if task.done():
                return task.result()
        finally:
            task.cancel()
        self.running()
        raise EngineFault(f"{self.name}: {what} took more than policy.call_timeout_s = {seconds:g} s")

    async def write(
        self,
        prompt: list[int],
        what: str,
        sampling: Any,
        *,
        proven: bool = False,
        admitted: bool = False,
        on_text: Callable[[str], None] | None = None,
    ) -> Any:
        """Final output of one request; with `proven`, after the weights are proven.

        `on_text` receives the text so far after each token but the last; it needs `sampling` with `stream`. Raises
        EngineFault when the engine refuses, died, or dropped the request.
        """
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        if not admitted:
            self.admission.check()
        vllm = self.running()
        self._calls += 1
        name = f"{what}-{self._calls}"
        losses = self.admission.losses
        try:
            outputs = []
            async for output in vllm.generate({"prompt_token_ids": prompt}, sampling, name):
                outputs = [output]
                if on_text is not None and not output.finished:
                    on_text(output.outputs[0].text)
        except (EngineDeadError, EngineGenerateError) as error:
            raise EngineFault(f"{self.name} lost its engine: {one_line(error)}") from error
        if proven:
            await self.admission.passed(self.settings.call_timeout_s)
        if losses != self.admission.losses:  # even if not aborted: it may have started after the others were
            raise EngineFault(f"{self.name} dropped a request because a weight sync failed")
        if not outputs or (reason := outputs[-1].outputs[0].finish_reason) not in ("stop", "length"):
            ended = repr(reason) if outputs else "no output"
            raise EngineFault(f"{self.name}: a request ended with {ended}, wanted 'stop' or 'length'")
        return outputs[-1]

    async def score(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """[T-1] log-probs of the tokens of a sequence after the first, without the prefix cache or admission."""
        sampling = sampling_parameters(max_tokens=1, prompt_logprobs=0, skip_reading_prefix_cache=True)
        output = await self.within(self.write(list(token_ids), "canary", sampling, admitted=True), "the canary check")
        scores = output.prompt_logprobs.logprobs
        if len(scores) != len(token_ids) - 1:
            raise EngineFault(
                f"{self.name} returned {len(scores)} log-probs of the canary sequence, wanted {len(token_ids) - 1}"
            )
        return tuple(scores)


def sampling_parameters(*, stream: bool = False, **options: Any) -> Any:
    """vLLM's `SamplingParams`; no top-p or top-k truncation, which would bias every importance ratio.

    With `stream`, every output has all tokens so far; otherwise there is only the final one.
    """
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        top_p=1.0,
        top_k=-1,
        logprobs=0,
        flat_logprobs=True,
        include_stop_str_in_output=True,
        skip_special_tokens=False,
        spaces_between_special_tokens=False,
        output_kind=RequestOutputKind.CUMULATIVE if stream else RequestOutputKind.FINAL_ONLY,
        **options,
    )


def one_line(error: BaseException) -> str:
    """An error's message on one line, at most 300 characters; of a pydantic error only its findings."""
    text = "; ".join(found["msg"] for found in error.errors()) if isinstance(error, ValidationError) else str(error)
    return " ".join(text.split())[:300] or type(error).__name__
