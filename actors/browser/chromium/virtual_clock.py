"""Virtual clock of a page: time stands still between steps, and frames are drawn only on request.

Without each of these rules, some page differed between runs:

- Pause time before navigating.
- Give frames the ticks of virtual time, to the microsecond: a page's clock is blurred by up to 0.1 ms except at whole
  tenths.
- Draw at tick 1 until the document's first frame has run, because animations begin with it: an undrawn document gets
  the same tick again.
- Take pictures 7 ms off the grid of round timers, and only when every request of the page has been refused.
- Limit the tasks that run without time passing.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import Awaitable, Callable

from actors.browser.chromium.cdp import CdpSession, CommandRefused
from actors.browser.chromium.scripts import EPOCH_S

STEP_MS = 100.0
OFF_GRID_MS = 7.0
STARVED_TASKS = 2000
FIRST_FRAME_MS = 1.0
"""Frame time of the document's first frame, and of the animations that begin with it."""
MOST_PRIMING_FRAMES = 400
SAME_TICK_FRAMES = 20
"""First frames drawn at one tick; by then the document may have missed it, and later ticks are used."""
PATIENCE_S = 0.05
"""Longest wait for a first frame's event before the next frame, in seconds."""
TICK_MS = 0.001
"""Minimum time between frames in milliseconds; a frame at a repeated time is dropped."""
SETTLE_MS = 0.01
"""Page time in milliseconds for a page to react to a refusal."""
SETTLES = 2
"""Such steps per refusal; an image's next try takes two turns."""
MOST_SETTLES = 40
"""Maximum steps."""
MOST_TRANSITION_FRAMES = 40
"""Maximum frames for a view transition to begin, all at one moment."""
MOST_TRIES = 5
MOST_ANSWERS = 4
"""Maximum chained IndexedDB or Cache answers awaited with page time frozen, before a picture or after a probe's action;
one per step on the way to a picture."""
MOST_ANSWER_TURNS = 50
"""Maximum polls for one answer of a store, which take just over a second."""
HEARINGS = 500
"""Maximum polls for all answers of a page's stores."""


class VirtualClock:
    """Virtual time and explicit frames of one target; `now` is page time in milliseconds.

    `settled` waits until no request is open, and returns the number of ended requests.
    """

    def __init__(self, settled: Callable[[], Awaitable[int]]) -> None:
        self.now = 0.0
        self.stores: Callable[[], Awaitable[object]] | None = None
        """Queries the page's stores, if any; answered after all queries the page waits for."""
        self.transition: Callable[[], Awaitable[object]] | None = None
        """Whether a view transition has yet to begin, for pages that may have one."""
        self.moved = time.monotonic()
        """When page time last advanced."""
        self._answer_turns = HEARINGS
        self._settled = settled
        self._answers = 0
        self._base = 0.0
        self._ticks = 0.0
        self._expired = asyncio.Event()

    async def start(self, session: CdpSession) -> None:
        """Stops time at the epoch; call before navigating."""
        self.session = session
        session.on("Emulation.virtualTimeBudgetExpired", lambda _: self._expired.set())
        answer = await session.post("Emulation.setVirtualTimePolicy", policy="pause", initialVirtualTime=EPOCH_S)
        self._base = float(answer["virtualTimeTicksBase"])

    async def prime(self, ready: asyncio.Event) -> bool:
        """Loads the document and draws until its first frame has run; False if it did not.

        A parser waiting for a script continues only when page time advances after the answer, so a little passes before
        each frame: under a millisecond in total.
        """
        await self._pass(TICK_MS)
        await self._settle()
        missed = 0
        for turn in range(MOST_PRIMING_FRAMES):
            if turn < SAME_TICK_FRAMES:
                self._ticks = self._base + FIRST_FRAME_MS + (missed - 1) * TICK_MS
            await self.draw()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(0.004 * (turn + 1), PATIENCE_S)):
                    await ready.wait()
            if ready.is_set():
                return True
            heard = self._answers
            await self._settle()
            await self._pass(TICK_MS)
            missed += self._answers != heard
        return False

    async def picture_at(self, at_ms: float) -> bytes:
        """PNG at page time `at_ms` plus 7 ms, reached in steps on a fixed grid with frames between."""
        goal = at_ms + OFF_GRID_MS
        hearing = goal - (MOST_SETTLES + 1) * SETTLE_MS  # leaves room to settle: the picture is always at `goal`
        while self.now < hearing - 0.01:
            steps = int((self.now - OFF_GRID_MS + 0.5) // STEP_MS) + 1
            until = min(OFF_GRID_MS + steps * STEP_MS, hearing)
            await self._step(until - self.now, MOST_ANSWERS if until == hearing else 1)
            if self.now < hearing - 0.01:
                await self.draw()
        await self._settle()
        await self._pass(max(goal - self.now, TICK_MS))
        return await self.picture()

    async def skip(self, to_ms: float) -> None:
        """Advances page time to where the picture at `at_ms` would be taken, without drawing."""
        await self._pass(to_ms + OFF_GRID_MS - self.now)

    async def picture(self) -> bytes:
        """PNG of this moment. Frames without damage may lack one: retried slightly later. Raises NoPicture."""
        for _ in range(MOST_TRIES):
            answer = await self.session.post(
                "HeadlessExperimental.beginFrame",
                frameTimeTicks=self._tick(),
                interval=STEP_MS,
                screenshot={"format": "png", "optimizeForSpeed": True},
            )
            if "screenshotData" in answer:
                return base64.b64decode(answer["screenshotData"])
        raise NoPicture(f"the browser drew {MOST_TRIES} frames at page time {self.now} ms without a screenshot")

    async def run(self, ms: float) -> None:
        """Advances page time by `ms` milliseconds, drawing each step."""
        goal = self.now + ms
        while self.now < goal - 0.01:
            await self._step(min(STEP_MS, goal - self.now))
            await self.draw()

    async def _settle(self) -> None:
        """Lets the page process refused requests and their consequences, within limits."""
        due = 0
        for _ in range(MOST_SETTLES):
            answers = await self._settled()
            if answers != self._answers:
                self._answers = answers
                due = SETTLES
            if not due:
                return
            due -= 1
            await self._pass(SETTLE_MS)

    async def _step(self, ms: float, answers: int = MOST_ANSWERS) -> None:
        """Advances page time, and delivers up to `answers` answers of stores."""
        await self._pass(ms)
        for _ in range(answers):
            if self.stores is not None and not await self._answered(self.stores()):
                self.stores = None

    async def _answered(self, answer: Awaitable[object]) -> bool:
        """Whether a store's answer came: it arrives in real time, but is processed only when page time advances."""
        waiting = asyncio.ensure_future(answer)
        try:
            for turn in range(min(MOST_ANSWER_TURNS, self._answer_turns)):
                self._answer_turns -= 1
                await self._pass(TICK_MS)
                await asyncio.wait({waiting}, timeout=min(0.001 * (turn + 1), PATIENCE_S))
                if waiting.done():
                    await waiting
                    return True
            return False
        except CommandRefused:  # the document is gone
            return False
        finally:
            waiting.cancel()

    async def _pass(self, ms: float) -> None:
        self._expired.clear()
        await self.session.post(
            "Emulation.setVirtualTimePolicy",
            policy="pauseIfNetworkFetchesPending",
            budget=round(ms, 3),
            maxVirtualTimeTaskStarvationCount=STARVED_TASKS,
        )
        await self._expired.wait()
        self.now = round(self.now + ms, 3)
        self.moved = time.monotonic()

    async def draw(self) -> None:
        """Draws this moment without a picture: processes style, layout and pending input."""
        await self._frame(shown=False)
        if self.transition is not None and not await self._begun(self.transition):
            self.transition = None

    async def _frame(self, *, shown: bool) -> None:
        await self.session.post(
            "HeadlessExperimental.beginFrame", frameTimeTicks=self._tick(), interval=STEP_MS, noDisplayUpdates=not shown
        )

    async def _begun(self, waits: Callable[[], Awaitable[object]]) -> bool:
        """Draws until no view transition waits: they capture the page from shown frames."""
        try:
            for turn in range(MOST_TRANSITION_FRAMES):
                if not await waits():
                    return True
                await self._frame(shown=True)
                await self._pass(TICK_MS)
                await asyncio.sleep(min(0.001 * turn, PATIENCE_S))
        except CommandRefused:  # the document is gone
            return False
        return True

    def _tick(self) -> float:
        """Frame time on the browser's clock, strictly increasing: a frame at a repeated time is dropped."""
        self._ticks = round(max(self._base + self.now, self._ticks + TICK_MS), 3)
        return self._ticks + TICK_MS / 4  # compensates for truncation to whole microseconds


class NoPicture(Exception):
    """The browser draws without delivering a picture: its own fault."""
