"""Page time: it stands still until told to go on, and a frame is drawn only when asked for.

What each rule is for was found by a page that differed between runs without it:
pause before navigating; give frames the ticks of virtual time, to the microsecond, for a page's clock is blurred by
up to 0.1 ms for all but whole tenths; draw at tick 1 until the document's first frame has run, for animations begin
with that frame: what has not drawn yet takes the same tick again; take pictures 7 ms off the grid of round timers,
and only when every request of the page has been refused; bound the tasks that may run without time passing.
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
"""Of those, the first are all for one tick; then the document may have missed it, and a later one must do."""
PATIENCE_S = 0.05
"""Longest wait for the news of a first frame before another is drawn."""
TICK_MS = 0.001
"""The least by which two frames differ: what is drawn twice at one time is dropped."""
SETTLE_MS = 0.01
SETTLES, MOST_SETTLES = 2, 40
"""Page time for what a page does about a refusal, and how often it is given: an image's next try takes two turns."""
MOST_TRANSITION_FRAMES = 40
"""Frames for one view transition to begin, all of one moment."""
MOST_TRIES = 5
MOST_ANSWERS = 4
"""Answers of a store, each asked for after the one before, for which no page time passes before a picture or after what
a probe does; on the way to a picture one a step."""
MOST_HEARINGS, HEARINGS = 50, 500
"""Times that an answer is waited for, somewhat over a second in all, and times for all of a page's together."""


class VirtualClock:
    """Virtual time and explicit frames of one target; `now` is page time in milliseconds.

    `settled` waits until no request of the page is open, and says how many it has been answered.
    """

    def __init__(self, settled: Callable[[], Awaitable[int]]) -> None:
        self.now = 0.0
        self.stores: Callable[[], Awaitable[object]] | None = None
        """Asks the page's stores, for pages that have any: the answer comes after all those that the page waits for."""
        self.transition: Callable[[], Awaitable[object]] | None = None
        """Asks whether a view transition has yet to begin, for pages that may have one."""
        self.moved = time.monotonic()
        """When page time last went on."""
        self._hearings = HEARINGS
        self._settled, self._answers = settled, 0
        self._base = self._ticks = 0.0
        self._expired = asyncio.Event()

    async def start(self, session: CdpSession) -> None:
        """Before the page is navigated to: time stands at the epoch."""
        self.session = session
        session.on("Emulation.virtualTimeBudgetExpired", lambda _: self._expired.set())
        answer = await session.post("Emulation.setVirtualTimePolicy", policy="pause", initialVirtualTime=EPOCH_S)
        self._base = float(answer["virtualTimeTicksBase"])

    async def prime(self, ready: asyncio.Event) -> bool:
        """Loads the document and draws until its first frame has run; False when it did not.

        A parser that waits for a script goes on only when page time passes after the answer, so a little of it passes
        before each frame: less than a millisecond in all.
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
        """PNG at page time `at_ms`, 7 ms later to be exact, after steps on a fixed grid that draw on their way."""
        goal = at_ms + OFF_GRID_MS
        hearing = goal - (MOST_SETTLES + 1) * SETTLE_MS  # however often it settles, the picture is of one moment
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
        """Lets page time pass to where the picture at `to_ms` would be taken, drawing nothing on the way."""
        await self._pass(to_ms + OFF_GRID_MS - self.now)

    async def picture(self) -> bytes:
        """PNG of this moment. A frame without damage may come without a picture: asked again, a hair later."""
        for _ in range(MOST_TRIES):
            answer = await self.session.post(
                "HeadlessExperimental.beginFrame",
                frameTimeTicks=self._tick(),
                interval=STEP_MS,
                screenshot={"format": "png", "optimizeForSpeed": True},
            )
            if "screenshotData" in answer:
                return base64.b64decode(answer["screenshotData"])
        raise NoPicture(f"{MOST_TRIES} frames at {self.now} ms came without a picture")

    async def run(self, ms: float) -> None:
        """Lets `ms` of page time pass, drawing every step."""
        goal = self.now + ms
        while self.now < goal - 0.01:
            await self._step(min(STEP_MS, goal - self.now))
            await self.draw()

    async def _settle(self) -> None:
        """Lets the page hear of every refusal, and of those that follow from it, within bounds."""
        due = 0
        for _ in range(MOST_SETTLES):
            answers = await self._settled()
            if answers != self._answers:
                self._answers, due = answers, SETTLES
            if not due:
                return
            due -= 1
            await self._pass(SETTLE_MS)

    async def _step(self, ms: float, answers: int = MOST_ANSWERS) -> None:
        """Lets time pass, and the page hear its stores, as long as they answer in time."""
        await self._pass(ms)
        for _ in range(answers):
            if self.stores is not None and not await self._hear(self.stores()):
                self.stores = None

    async def _hear(self, answer: Awaitable[object]) -> bool:
        """Whether a store's answer came: it arrives in real time, and is heard only when page time moves."""
        waiting = asyncio.ensure_future(answer)
        try:
            for turn in range(min(MOST_HEARINGS, self._hearings)):
                self._hearings -= 1
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
        """Draws this moment without a picture: style, layout and pending input are worked off."""
        await self._frame(shown=False)
        if self.transition is not None and not await self._begun(self.transition):
            self.transition = None

    async def _frame(self, *, shown: bool) -> None:
        await self.session.post(
            "HeadlessExperimental.beginFrame", frameTimeTicks=self._tick(), interval=STEP_MS, noDisplayUpdates=not shown
        )

    async def _begun(self, waits: Callable[[], Awaitable[object]]) -> bool:
        """Draws until no view transition waits: it takes its pictures of the page from frames that are shown."""
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
        """Frame time on the browser's clock; never twice the same, for that frame would be dropped."""
        self._ticks = round(max(self._base + self.now, self._ticks + TICK_MS), 3)
        return self._ticks + TICK_MS / 4  # what is cut off on the way to whole microseconds


class NoPicture(Exception):
    """The browser draws, and yet delivers no picture: its own fault."""
