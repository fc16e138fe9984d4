"""Weight updates of a running vLLM engine, in stages, and the canary check that proves them.

    connect → (open_update → receive_weights … → close_update → prove) for each version

Generation pauses between open and close. Requests are held from open until the proof; see `actors.policy.admission`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from actors.canary import check_model, check_sync, gap_of
from actors.policy.vllm_engine import VLLMEngine, one_line
from actors.vllm_environment import shared_file
from rollout.errors import EngineFault, SyncError

SHARED_MEMORY = "shared memory"
"""Ticket of syncs that need no learner connection."""


class WeightUpdates:
    """Receives and proves the weights of one engine."""

    def __init__(self, engine: VLLMEngine) -> None:
        self.engine = engine
        self.admission = engine.admission
        self.name = engine.name
        self._as_loaded = True
        self._ticket = ""
        self._updating = False
        self._syncing = asyncio.Lock()
        self._staging = asyncio.Lock()

    def reset(self) -> None:
        """Forgets the connection and an open update of an engine that was stopped."""
        self._ticket = ""
        self._updating = False

    async def update_weights(self, blob: bytes, version: int) -> None:
        """Swaps in a whole model between two tokens, from safetensors bytes with the checkpoint's names.

        Running completions continue under the new weights with recomputed keys and values; new requests wait for
        `prove`. Raises EngineFault when the engine rejects the weights: completions are dropped and requests refused
        until a proven sync.
        """
        with shared_file(blob, self.engine.rank) as path:
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
            vllm = self.engine.running()
            former = self._ticket
            self._ticket = ""
            try:
                if self._updating:  # The learner that opened it is gone; close it before disconnecting.
                    await self.engine.within(vllm.finish_weight_update(), "closing an unfinished update")
                    self._updating = False
                if former:
                    await self.engine.within(vllm.shutdown_weight_transfer_engine(), "disconnecting from the learner")
                await self.engine.within(vllm.init_weight_transfer_engine(request), "connecting to the learner")
            except Exception as error:
                raise EngineFault(f"{self.name} cannot connect to the learner: {one_line(error)}") from error
            self._ticket = ticket

    async def open_update(self, ticket: str, version: int) -> None:
        """Pauses generation between two tokens and opens an update. Requests wait for `prove`. Raises EngineFault."""
        async with self._stage(ticket, version) as vllm:
            self.admission.hold()
            self._as_loaded = False
            await self.engine.within(vllm.pause_generation(mode="keep", clear_cache=True), "pausing generation")
            await self.engine.within(vllm.start_weight_update(), "opening the update")
            self._updating = True

    async def receive_weights(self, ticket: str, update_info: dict[str, Any]) -> None:
        """Receives weights; `update_info` depends on the back end. Raises EngineFault."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        async with self._stage(ticket) as vllm:
            self._updating = False  # vLLM closes an update that fails.
            await self.engine.within(vllm.update_weights(WeightTransferUpdateRequest(update_info)), "loading weights")
            self._updating = True

    async def close_update(self, ticket: str, version: int) -> None:
        """Closes the update and resumes completions under the new weights. Raises EngineFault."""
        async with self._stage(ticket, version) as vllm:
            await self.engine.within(vllm.finish_weight_update(weight_version=str(version)), "closing the update")
            self._updating = False
            await self.engine.within(vllm.resume_generation(), "resuming generation")

    async def prove_model(self, token_ids: tuple[int, ...], wanted: tuple[float, ...], max_gap: float) -> float:
        """Compares engine and learner on weights that both loaded from the same directory.

        `wanted` are the learner's [T-1] log-probs of `token_ids`. Returns the largest absolute difference, or 0 once
        the engine has received a learner's weights, after which it cannot be measured. Raises ModelError when it
        exceeds `max_gap`.
        """
        if not self._as_loaded:
            return 0.0
        gap = gap_of(await self.engine.score(token_ids), wanted)
        kind = self.engine.running().model_config.hf_config.model_type
        check_model(gap, max_gap, model=self.engine.model_dir, kind=kind)
        return gap

    async def prove(self, version: int, token_ids: tuple[int, ...], wanted: tuple[float, ...], max_gap: float) -> float:
        """Serves again if the engine holds `version` and reproduces the learner's log-probs.

        `wanted` are [T-1] log-probs of `token_ids`. Returns the largest absolute difference. Raises SyncError when it
        exceeds `max_gap` or the version differs: requests are then refused and completions dropped.
        """
        try:
            held = await self.engine.within(self.engine.running().get_weight_version(), "reading the weight version")
            if held != str(version):
                raise SyncError(
                    f"{self.name} holds the weights of version {held}, wanted {version}; the run stops here"
                )
            self.admission.check()
            gap = gap_of(await self.engine.score(token_ids), wanted)
            check_sync(gap, max_gap, rank=self.engine.rank, version=version)
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
            vllm = self.engine.running()
            if ticket != self._ticket:
                raise EngineFault(f"{self.name} refused a call of an earlier sync; another sync has connected since")
            try:
                yield vllm
            except BaseException as error:
                await self._drop(
                    f"is stale: the sync of {'weights' if version is None else f'version {version}'} failed"
                )
                if isinstance(error, Exception):
                    raise EngineFault(f"{self.name} {self.admission.why}: {one_line(error)}") from error
                raise

    async def _drop(self, why: str) -> None:
        """Refuses requests and drops completions. Raises EngineFault when the engine is lost."""
        self.admission.shut(why)
        vllm = self.engine.running()
        await self.engine.within(vllm.pause_generation(mode="abort"), "dropping its completions")
        await self.engine.within(vllm.resume_generation(), "resuming generation")
