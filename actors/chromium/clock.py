"""Page time: it stands still until told to go on, and a frame is drawn only when asked for.

What each rule is for was found by a page that differed between runs without it:
pause before navigating; give frames the ticks of virtual time; draw at tick 1 until the document's first frame
has run; take pictures 7 ms off the grid of round timers; bound the tasks that may run without time passing.
"""

import asyncio
import base64

from actors.chromium.pipe import Session
from actors.chromium.scripts import EPOCH_S

STEP_MS = 100.0
OFF_GRID_MS = 7.0
STARVED_TASKS = 2000
MOST_PRIMING_FRAMES = 400
MOST_TRIES = 5


class FrameClock:
    """Virtual time and explicit frames of one target; `now` is page time in milliseconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self._base = self._ticks = 0.0
        self._expired = asyncio.Event()

    async def start(self, session: Session) -> None:
        """Before the page is navigated to: time stands at the epoch."""
        self.session = session
        session.on("Emulation.virtualTimeBudgetExpired", lambda _: self._expired.set())
        answer = await session.post("Emulation.setVirtualTimePolicy", policy="pause", initialVirtualTime=EPOCH_S)
        self._base = float(answer["virtualTimeTicksBase"])

    async def prime(self, ready: asyncio.Event) -> bool:
        """Draws at the first tick until `ready`; False when the document never said so."""
        await self._pass(1.0)
        for turn in range(MOST_PRIMING_FRAMES):
            await self.draw()
            if ready.is_set():
                return True
            await asyncio.sleep(min(0.001 * (turn + 1), 0.02))
        return False

    async def picture_at(self, at_ms: float) -> bytes:
        """PNG at page time `at_ms`, 7 ms later to be exact, after steps on a fixed grid that draw on their way."""
        goal = at_ms + OFF_GRID_MS
        while self.now < goal - 0.01:
            steps = int((self.now - OFF_GRID_MS + 0.5) // STEP_MS) + 1
            await self._pass(min(OFF_GRID_MS + steps * STEP_MS, goal) - self.now)
            if self.now < goal - 0.01:
                await self.draw()
        return await self.picture()

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
            await self._pass(min(STEP_MS, goal - self.now))
            await self.draw()

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

    async def draw(self) -> None:
        """Draws this moment without a picture: style, layout and pending input are worked off."""
        await self.session.post(
            "HeadlessExperimental.beginFrame", frameTimeTicks=self._tick(), interval=STEP_MS, noDisplayUpdates=True
        )

    def _tick(self) -> float:
        """Frame time on the browser's clock; never twice the same, for that frame would be dropped."""
        self._ticks = max(self._base + self.now, self._ticks + 0.01)
        return self._ticks


class NoPicture(Exception):
    """The browser draws, and yet delivers no picture: its own fault."""
