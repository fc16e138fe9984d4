"""The policy engine: vLLM with weight updates at run time, proven by a canary check."""

import asyncio
import math
import multiprocessing
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from actors.canary import check_model, check_sync, gap_of
from actors.policy.admission import Admission
from actors.policy.busy_time import BusyTimer
from actors.policy.continuation import Continuation, spans_of
from actors.policy.engine_arguments import engine_arguments
from actors.settings import PolicySettings
from actors.vllm_environment import environment, shared_file, variables
from learner.chat import Chat
from rollout.errors import EngineFault, PromptTooLong, SettingsError, SyncError
from rollout.records import Completion, Message, Request
from rollout.seeds import seed_of

T = TypeVar("T")

SHARED_MEMORY = "shared memory"
"""Ticket of syncs that need no learner connection."""


class VLLMPolicy:
    """One vLLM engine with its processes; concurrent `complete` calls are batched."""

    def __init__(
        self, model_dir: str, settings: PolicySettings, seed: int, rank: int = 0, follows: bool = False
    ) -> None:
        """`model_dir` is a Hugging Face directory with weights (version 0), tokenizer and chat template.

        With `follows`, requests are refused until the first proven sync, also after a restart.
        """
        self.model_dir = model_dir
        self.settings = settings
        self.seed = seed
        self.rank = rank
        self.follows = follows
        self.admission = Admission(f"policy {rank}")
        self._engine: Any = None
        self._chat: Chat | None = None
        self._as_loaded = True
        self._calls = 0
        self._ticket = ""
        self._updating = False
        self._meter = BusyTimer()
        self._syncing, self._staging = asyncio.Lock(), asyncio.Lock()

    async def start(self) -> None:
        """Starts the processes and generates one token. Raises SettingsError, ModelError or EngineFault."""
        if not (Path(self.model_dir) / "config.json").is_file():
            raise SettingsError(f"the policy's model {self.model_dir!r} holds no config.json; give a model directory")
        try:
            async with asyncio.timeout(self.settings.start_timeout_s):
                await asyncio.to_thread(self._build)
                self._chat = Chat(self._engine.get_tokenizer(), self.settings.template_arguments)
                await self._engine.update_weight_version("0")
                self.admission.open()
                await self._write([0], "start", self._sampling(max_tokens=1))
                if self.follows:
                    self.admission.shut("has not been synced yet")
        except TimeoutError:
            await self.stop()
            raise EngineFault(f"policy {self.rank} did not start in {self.settings.start_timeout_s:g} s") from None
        except ValueError as error:
            await self.stop()
            raise SettingsError(f"vLLM refuses the policy settings: {_one_line(error)}") from error
        except (RuntimeError, EngineFault) as error:
            await self.stop()
            raise EngineFault(f"policy {self.rank} cannot start: {_one_line(error)}") from error

    async def stop(self) -> None:
        """Stops the processes. Safe to call twice, and on an engine that died."""
        engine, self._engine, self._ticket, self._updating = self._engine, None, "", False
        self.admission.shut("was stopped")
        if engine is not None:
            engine.shutdown(timeout=5.0)
            multiprocessing.active_children()  # called for its side effect: reaps child processes that have ended

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """`request.num` completions in sampling order, under proven weights; see `actors.policy.admission`.

        Raises EngineFault, or PromptTooLong when no room is left for an answer.
        """
        await self.admission.passed(self.settings.call_timeout_s)
        prompt = self.prompt_ids(request.messages)
        limit = self._alive().model_config.max_model_len
        if len(prompt) >= limit:
            raise PromptTooLong(
                f"a prompt of {len(prompt)} tokens leaves no room in policy.max_model_len = {limit}: "
                "raise it, or lower episode.max_tokens"
            )
        siblings = [
            self._sampling(
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                seed=seed_of(request.seed, index),
                stop=list(request.stop),
            )
            for index in range(request.num)
        ]
        return tuple(await asyncio.gather(*(self._complete(prompt, sampling) for sampling in siblings)))

    def prompt_ids(self, messages: tuple[Message, ...]) -> list[int]:
        """[P] token ids of a conversation in the model's chat template; see `learner.chat`."""
        self._alive()
        assert self._chat is not None, "an engine that runs has one"
        return self._chat.prompt_ids(messages)

    async def ping(self) -> None:
        """Health check by generating one token; vLLM's own status is not enough.

        Raises EngineFault; requests are then refused until a proven sync.
        """
        try:
            await self._within(self._write([0], "ping", self._sampling(max_tokens=1)), "a ping")
        except EngineFault as fault:
            if not self.admission.why:
                self.admission.shut(f"failed its health check and has not been synced since ({fault})")
            raise

    async def canary(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """[T-1] log-probs of the tokens of a fixed sequence after the first, without the prefix cache."""
        self.admission.check()
        return await self._score(token_ids)

    async def _score(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        sampling = self._sampling(max_tokens=1, prompt_logprobs=0, skip_reading_prefix_cache=True)
        output = await self._within(self._write(list(token_ids), "canary", sampling, admitted=True), "a canary")
        scores = output.prompt_logprobs.logprobs
        if len(scores) != len(token_ids) - 1:
            raise EngineFault(f"policy {self.rank} scored {len(scores)} of {len(token_ids) - 1} canary tokens")
        return tuple(scores)

    async def update_weights(self, blob: bytes, version: int) -> None:
        """Swaps in a whole model between two tokens, from safetensors bytes with the checkpoint's names.

        Running completions continue under the new weights with recomputed keys and values; new requests wait for
        `prove`. Raises EngineFault when the engine rejects the weights: completions are dropped and requests refused
        until a proven sync.
        """
        with shared_file(blob, self.rank) as path:
            async with self._syncing:
                if self._ticket != SHARED_MEMORY:
                    await self.connect(SHARED_MEMORY, {})
                await self.open_update(SHARED_MEMORY, version)
                await self.receive_weights(SHARED_MEMORY, {"path": str(path)})
                await self.close_update(SHARED_MEMORY, version)

    async def connect(self, ticket: str, init_info: dict[str, Any]) -> None:
        """Connects to a learner for syncs, replacing an earlier connection. Its sync calls pass the same `ticket`.

        Raises EngineFault; weights and admission are then unchanged.
        """
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        request = WeightTransferInitRequest(init_info)
        async with self._staging:
            engine, former, self._ticket = self._alive(), self._ticket, ""
            try:
                if self._updating:  # The learner that opened it is gone; close it before disconnecting.
                    await self._within(engine.finish_weight_update(), "giving up an update")
                    self._updating = False
                if former:
                    await self._within(engine.shutdown_weight_transfer_engine(), "hanging up")
                await self._within(engine.init_weight_transfer_engine(request), "connecting")
            except Exception as error:
                raise EngineFault(f"policy {self.rank} cannot join the learner: {_one_line(error)}") from error
            self._ticket = ticket

    async def open_update(self, ticket: str, version: int) -> None:
        """Pauses generation between two tokens and opens an update. Requests wait for `prove`. Raises EngineFault."""
        async with self._stage(ticket, version) as engine:
            self.admission.hold()
            self._as_loaded = False
            await self._within(engine.pause_generation(mode="keep", clear_cache=True), "pausing")
            await self._within(engine.start_weight_update(), "opening the update")
            self._updating = True

    async def receive_weights(self, ticket: str, update_info: dict[str, Any]) -> None:
        """Receives weights; `update_info` depends on the back end. Raises EngineFault."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        async with self._stage(ticket) as engine:
            self._updating = False  # vLLM closes an update that fails.
            await self._within(engine.update_weights(WeightTransferUpdateRequest(update_info)), "taking weights")
            self._updating = True

    async def close_update(self, ticket: str, version: int) -> None:
        """Closes the update and resumes completions under the new weights. Raises EngineFault."""
        async with self._stage(ticket, version) as engine:
            await self._within(engine.finish_weight_update(weight_version=str(version)), "closing the update")
            self._updating = False
            await self._within(engine.resume_generation(), "resuming")

    async def prove_model(self, token_ids: tuple[int, ...], wanted: tuple[float, ...], max_gap: float) -> float:
        """Compares engine and learner on weights that both loaded from the same directory.

        `wanted` are the learner's [T-1] log-probs of `token_ids`. Returns the largest absolute difference, or 0 once
        the engine has received a learner's weights, after which it cannot be measured. Raises ModelError when it
        exceeds `max_gap`.
        """
        if not self._as_loaded:
            return 0.0
        gap = gap_of(await self._score(token_ids), wanted)
        kind = self._alive().model_config.hf_config.model_type
        check_model(gap, max_gap, model=self.model_dir, kind=kind)
        return gap

    async def prove(self, version: int, token_ids: tuple[int, ...], wanted: tuple[float, ...], max_gap: float) -> float:
        """Serves again if the engine holds `version` and reproduces the learner's log-probs.

        `wanted` are [T-1] log-probs of `token_ids`. Returns the largest absolute difference. Raises SyncError when it
        exceeds `max_gap` or the version differs: requests are then refused and completions dropped.
        """
        try:
            held = await self._within(self._alive().get_weight_version(), "its version")
            if held != str(version):
                raise SyncError(
                    f"policy-{self.rank} holds the weights of version {held}, wanted {version}; the run stops here"
                )
            gap = gap_of(await self.canary(token_ids), wanted)
            check_sync(gap, max_gap, rank=self.rank, version=version)
        except BaseException:
            await self._drop(f"has not proven version {version}")
            raise
        self.admission.open()
        return gap

    @asynccontextmanager
    async def _stage(self, ticket: str, version: int | None = None) -> AsyncIterator[Any]:
        """One sync stage. Raises EngineFault for another sync's ticket, or on failure: the engine keeps running, with
        its completions dropped and requests refused."""
        async with self._staging:
            engine = self._alive()
            if ticket != self._ticket:
                raise EngineFault(f"policy {self.rank} was asked to go on with a sync that has been given up")
            try:
                yield engine
            except BaseException as error:
                await self._drop(
                    f"is stale: the sync of {'weights' if version is None else f'version {version}'} failed"
                )
                if isinstance(error, Exception):
                    raise EngineFault(f"policy {self.rank} {self.admission.why}: {_one_line(error)}") from error
                raise

    async def _drop(self, why: str) -> None:
        """Refuses requests and drops completions. Raises EngineFault when the engine is lost."""
        self.admission.shut(why)
        engine = self._alive()
        await self._within(engine.pause_generation(mode="abort"), "dropping its completions")
        await self._within(engine.resume_generation(), "resuming")

    async def _complete(self, prompt: list[int], sampling: Any) -> Completion:
        """Generates and validates one completion."""
        begun, entered = time.perf_counter(), self._meter.enter()
        try:
            outputs, text, finish = await self._pieces(prompt, sampling)
        finally:
            charged = self._meter.leave(entered)
        token_ids = tuple(token for output in outputs for token in output.token_ids)
        logprobs = tuple(score for output in outputs for score in output.logprobs.logprobs)
        if len(logprobs) != len(token_ids) or not math.isfinite(sum(logprobs)):
            raise EngineFault(f"policy {self.rank} gave {len(logprobs)} log-probs, or NaN, for {len(token_ids)} tokens")
        return Completion(
            prompt_ids=tuple(prompt),
            token_ids=token_ids,
            logprobs=logprobs,
            text=text,
            finish=finish,
            versions=spans_of(outputs),
            seconds=time.perf_counter() - begun,
            engine_seconds=charged,
        )

    async def _pieces(self, prompt: list[int], sampling: Any) -> tuple[list[Any], str, Any]:
        """Outputs, text and finish reason of one answer.

        vLLM stops at any occurrence of a stop string. If a thought or a page only quotes it, the answer continues from
        its own tokens, each piece with its own seed.
        """
        engine = self._alive()
        pieces = Continuation(engine.get_tokenizer(), prompt, engine.model_config.max_model_len, sampling)
        while (options := pieces.next()) is not None:
            asked = sampling if not pieces.outputs else self._sampling(**options)
            pieces.add((await self._write(pieces.written, "complete", asked, proven=True)).outputs[0])
        return pieces.outputs, pieces.text + ("" if pieces.cut else self._text(pieces.outputs[-1])), pieces.finish

    def _text(self, output: Any) -> str:
        """Text of an output with its stop string, without the end-of-text token."""
        if output.finish_reason == "length" or isinstance(output.stop_reason, str):
            return str(output.text)
        end = self._alive().get_tokenizer().decode(output.token_ids[-1:], skip_special_tokens=False)
        return str(output.text.removesuffix(end))

    async def _write(
        self, prompt: list[int], what: str, sampling: Any, *, proven: bool = False, admitted: bool = False
    ) -> Any:
        """Final output of one request; with `proven`, after the weights are proven.

        Raises EngineFault when the engine refuses, died, or dropped the request.
        """
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        if not admitted:
            self.admission.check()
        engine = self._alive()
        self._calls += 1
        name, losses = f"{what}-{self._calls}", self.admission.losses
        try:
            outputs = [output async for output in engine.generate({"prompt_token_ids": prompt}, sampling, name)]
        except (EngineDeadError, EngineGenerateError) as error:
            raise EngineFault(f"policy {self.rank} lost its engine: {_one_line(error)}") from error
        if proven:
            await self.admission.passed(self.settings.call_timeout_s)
        if losses != self.admission.losses:  # even if not aborted: it may have started after the others were
            raise EngineFault(f"policy {self.rank} dropped a request when a sync failed")
        if not outputs or (reason := outputs[-1].outputs[0].finish_reason) not in ("stop", "length"):
            raise EngineFault(f"policy {self.rank} ended a request with {reason if outputs else 'no output'}")
        return outputs[-1]

    async def _within(self, call: Coroutine[Any, Any, T], what: str) -> T:
        """Result of `call`. Raises EngineFault on a timeout or when the engine dies; vLLM would keep waiting."""
        task, seconds = asyncio.ensure_future(call), self.settings.call_timeout_s
        try:
            await asyncio.wait({task, self._alive().output_handler}, timeout=seconds, return_when="FIRST_COMPLETED")
            if task.done():
                return task.result()
        finally:
            task.cancel()
        self._alive()
        raise EngineFault(f"policy {self.rank} spent more than {seconds:g} s on {what}")

    def _alive(self) -> Any:
        """The running engine. Raises EngineFault when there is none, or its process died."""
        if self._engine is None:
            raise EngineFault(f"policy {self.rank} {self.admission.why}")
        if self._engine.errored:
            raise EngineFault(f"policy {self.rank} lost its engine")
        return self._engine

    def _sampling(self, **options: Any) -> Any:
        """vLLM's sampling parameters; no top-p or top-k truncation, which would bias every importance ratio."""
        from vllm.sampling_params import RequestOutputKind, SamplingParams

        return SamplingParams(
            top_p=1.0,
            top_k=-1,
            logprobs=0,
            flat_logprobs=True,
            include_stop_str_in_output=True,
            skip_special_tokens=False,
            spaces_between_special_tokens=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            **options,
        )

    def _build(self) -> None:
        """Starts vLLM's processes; blocks meanwhile."""
        with environment(variables(self.settings)):
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM

            config = AsyncEngineArgs(
                **engine_arguments(self.model_dir, self.seed, self.settings)
            ).create_engine_config()
            if self.settings.tensor_parallel == 1:
                # vLLM on CPU would start a separate worker process, which polls and occupies a core.
                config.parallel_config.distributed_executor_backend = "uni"
            self._engine = AsyncLLM.from_vllm_config(config, disable_log_stats=True)


def _one_line(error: BaseException) -> str:
    """An error's message on one line, at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__
