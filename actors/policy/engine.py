"""The policy actor: completions of a vLLM engine, with weight updates at run time."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

from actors.policy.admission import Admission
from actors.policy.busy_time import BusyTimer
from actors.policy.continuation import Continuation, spans_of
from actors.policy.direct import generate
from actors.policy.engine_node import EngineNode
from actors.policy.sleep import EngineSleep
from actors.policy.text_stream import TextStream
from actors.policy.vllm_engine import VLLMEngine, one_line, sampling_parameters
from actors.policy.weight_updates import WeightUpdates
from actors.settings import PolicySettings
from learner.chat import Chat
from rollout.errors import EngineFault, PromptTooLong, SettingsError
from rollout.records import Completion, Message, Request
from rollout.seeds import seed_of


class VLLMPolicy:
    """One vLLM engine with its processes; concurrent `complete` calls are batched."""

    def __init__(
        self,
        model_dir: str,
        settings: PolicySettings,
        *,
        seed: int,
        rank: int = 0,
        follows: bool = False,
        node: EngineNode | None = None,
    ) -> None:
        """`model_dir` is a Hugging Face directory with weights (version 0), tokenizer and chat template.

        With `follows`, requests are refused until the first proven sync, also after a restart. `node` is node 0 of an
        engine on several nodes; without it, all GPUs are on this node.
        """
        self.model_dir = model_dir
        self.settings = settings
        self.follows = follows
        self.name = f"policy-{rank}"
        self.admission = Admission(self.name)
        self.engine = VLLMEngine(model_dir, settings, seed=seed, rank=rank, admission=self.admission, node=node)
        self.updates = WeightUpdates(self.engine)
        self.sleeping = EngineSleep(self.engine)
        self._chat: Chat | None = None
        self._meter = BusyTimer()

    async def start(self) -> None:
        """Starts the processes and generates one token. Raises SettingsError, ModelError or EngineFault."""
        if not (Path(self.model_dir) / "config.json").is_file():
            raise SettingsError(f"the policy's model {self.model_dir!r} has no config.json; give a model directory")
        try:
            async with asyncio.timeout(self.settings.start_timeout_s):
                await asyncio.to_thread(self.engine.build)
                vllm = self.engine.running()
                self._chat = Chat(vllm.get_tokenizer(), self.settings.template_arguments)
                await vllm.update_weight_version("0")
                self.admission.open()
                await self.engine.write([0], "start", sampling_parameters(max_tokens=1))
                if self.follows:
                    self.admission.shut("has not been synced yet")
        except TimeoutError:
            await self.stop()
            raise EngineFault(
                f"{self.name} did not start within policy.start_timeout_s = {self.settings.start_timeout_s:g} s"
            ) from None
        except ValueError as error:
            await self.stop()
            raise SettingsError(f"vLLM refuses the policy settings: {one_line(error)}") from error
        except (RuntimeError, EngineFault) as error:
            await self.stop()
            raise EngineFault(f"{self.name} cannot start: {one_line(error)}") from error

    async def stop(self) -> None:
        """Stops the processes. Safe to call twice, and on an engine that died."""
        self.updates.reset()
        self.sleeping.reset()
        self.admission.shut("was stopped")
        self.engine.shutdown()

    async def complete(self, request: Request) -> tuple[Completion, ...]:
        """`request.num` completions in sampling order, under proven weights; see `actors.policy.admission`.

        Raises EngineFault, or PromptTooLong when no room is left for an answer.
        """
        prompt = await self._prompt(request)
        siblings = [self._sampling(request, index) for index in range(request.num)]
        return tuple(await asyncio.gather(*(self._complete(prompt, sampling) for sampling in siblings)))

    async def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yields the first completion's text in pieces while it is generated, then the completion.

        Raises the errors of `complete`.
        """
        prompt = await self._prompt(request)
        texts = TextStream()
        work = self._complete(prompt, self._sampling(request, 0, stream=True), texts.update)
        async for piece in texts.pieces(work):
            yield piece

    async def _prompt(self, request: Request) -> list[int]:
        await self.admission.passed(self.settings.call_timeout_s)
        prompt = self.prompt_ids(request.messages)
        limit = self.engine.running().model_config.max_model_len
        if len(prompt) >= limit:
            raise PromptTooLong(
                f"a prompt of {len(prompt)} tokens leaves no room in policy.max_model_len = {limit}: "
                "raise it, or lower episode.max_tokens"
            )
        return prompt

    def _sampling(self, request: Request, index: int, *, stream: bool = False) -> Any:
        return sampling_parameters(
            max_tokens=request.max_tokens,
            temperature=request.temperature,
            seed=seed_of(request.seed, index),
            stop=list(request.stop),
            stream=stream,
        )

    def prompt_ids(self, messages: tuple[Message, ...]) -> list[int]:
        """[P] token ids of a conversation in the model's chat template; see `learner.chat`."""
        self.engine.running()
        assert self._chat is not None, "an engine that runs has one"
        return self._chat.prompt_ids(messages)

    async def ping(self) -> None:
        """Health check by generating one token; vLLM's own status is not enough, unless the engine is asleep.

        Raises EngineFault; requests are then refused until a proven sync.
        """
        try:
            self.engine.running()
            with self.sleeping.health_check() as awake:
                if awake:
                    await self.engine.within(
                        self.engine.write([0], "ping", sampling_parameters(max_tokens=1)), "the health check"
                    )
        except EngineFault as fault:
            if not self.admission.why:
                self.admission.shut(f"failed its health check and has not been synced since ({fault})")
            raise

    async def generate_directly(self, requests: tuple[Request, ...]) -> int:
        """Generates one completion of each request with vLLM alone, concurrently; returns the number of tokens.

        The baseline of measurements: the same prompts and sampling parameters as `complete`, without admission, checks
        and records.
        """
        vllm = self.engine.running()
        prompts = [self.prompt_ids(request.messages) for request in requests]
        calls = (generate(vllm, prompt, request) for prompt, request in zip(prompts, requests, strict=True))
        return sum(await asyncio.gather(*calls))

    async def sleep(self) -> None:
        """Releases GPU memory until `wake`; see `actors.policy.sleep`. Raises EngineFault."""
        await self.sleeping.start()

    async def wake(self) -> None:
        """Takes the GPU memory back; see `actors.policy.sleep`. Raises EngineFault."""
        await self.sleeping.end()

    async def canary(self, token_ids: tuple[int, ...]) -> tuple[float, ...]:
        """[T-1] log-probs of the tokens of a fixed sequence after the first, without the prefix cache."""
        self.admission.check()
        return await self.engine.score(token_ids)

    async def update_weights(self, blob: bytes, version: int) -> None:
        """See `WeightUpdates.update_weights`."""
        await self.updates.update_weights(blob, version)

    async def connect(self, ticket: str, init_info: dict[str, Any]) -> None:
        """See `WeightUpdates.connect`."""
        await self.updates.connect(ticket, init_info)

    async def open_update(self, ticket: str, version: int) -> None:
        """See `WeightUpdates.open_update`."""
        await self.updates.open_update(ticket, version)

    async def receive_weights(self, ticket: str, update_info: dict[str, Any]) -> None:
        """See `WeightUpdates.receive_weights`."""
        await self.updates.receive_weights(ticket, update_info)

    async def close_update(self, ticket: str, version: int) -> None:
        """See `WeightUpdates.close_update`."""
        await self.updates.close_update(ticket, version)

    async def prove_model(self, token_ids: tuple[int, ...], wanted: tuple[float, ...], max_gap: float) -> float:
        """See `WeightUpdates.prove_model`."""
        return await self.updates.prove_model(token_ids, wanted, max_gap)

    async def prove(self, version: int, token_ids: tuple[int, ...], wanted: tuple[float, ...], max_gap: float) -> float:
        """See `WeightUpdates.prove`."""
        return await self.updates.prove(version, token_ids, wanted, max_gap)

    async def _complete(
        self, prompt: list[int], sampling: Any, on_text: Callable[[str], None] | None = None
    ) -> Completion:
        """Generates and validates one completion; `on_text` receives its text so far."""
        begun = time.perf_counter()
        entered = self._meter.enter()
        try:
            outputs, text, finish = await self._pieces(prompt, sampling, on_text)
        finally:
            charged = self._meter.leave(entered)
        token_ids = tuple(token for output in outputs for token in output.token_ids)
        logprobs = tuple(score for output in outputs for score in output.logprobs.logprobs)
        if len(logprobs) != len(token_ids) or not math.isfinite(sum(logprobs)):
            raise EngineFault(
                f"{self.name} returned {len(logprobs)} log-probs, or NaN, for {len(token_ids)} tokens; "
                "wanted a finite one for each token"
            )
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

    async def _pieces(
        self, prompt: list[int], sampling: Any, on_text: Callable[[str], None] | None
    ) -> tuple[list[Any], str, Any]:
        """Outputs, text and finish reason of one answer.

        vLLM stops at any occurrence of a stop string. If a thought or a page only quotes it, the answer continues from
        its own tokens, each piece with its own seed.
        """
        vllm = self.engine.running()
        pieces = Continuation(vllm.get_tokenizer(), prompt, vllm.model_config.max_model_len, sampling)
        while (options := pieces.next()) is not None:
            streamed = on_text is not None
            asked = sampling if not pieces.outputs else sampling_parameters(stream=streamed, **options)
            tell = partial(_tell, on_text, pieces.text) if on_text is not None else None
            output = await self.engine.write(pieces.written, "complete", asked, proven=True, on_text=tell)
            pieces.add(output.outputs[0])
        return pieces.outputs, pieces.text + ("" if pieces.cut else self._text(pieces.outputs[-1])), pieces.finish

    def _text(self, output: Any) -> str:
        """Text of an output with its stop string, without the end-of-text token."""
        if output.finish_reason == "length" or isinstance(output.stop_reason, str):
            return str(output.text)
        end = self.engine.running().get_tokenizer().decode(output.token_ids[-1:], skip_special_tokens=False)
        return str(output.text.removesuffix(end))


def _tell(on_text: Callable[[str], None], before: str, text: str) -> None:
    """Passes the text of all pieces so far to `on_text`."""
    on_text(before + text)
