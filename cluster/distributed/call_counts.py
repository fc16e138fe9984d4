"""Counts of running calls per actor, ordered so that the least loaded actor is found without a scan."""

from collections import OrderedDict


class CallCounts:
    """Number of running calls per actor index. A closed actor keeps its count and is not offered."""

    def __init__(self, num: int) -> None:
        self.counts = [0] * num
        self.shut: set[int] = set()
        self._open: list[OrderedDict[int, None]] = [OrderedDict.fromkeys(range(num))]
        """`_open[n]`: open actors with n calls, least recently changed first."""

    def __len__(self) -> int:
        return len(self.counts)

    def add(self, place: int, calls: int) -> None:
        """Adds `calls` (may be negative) to the count of an actor."""
        self._leave(place)
        self.counts[place] += calls
        self._enter(place)

    def close(self, place: int) -> None:
        """Stops offering an actor."""
        self._leave(place)
        self.shut.add(place)

    def open(self, place: int) -> None:
        """Offers a closed actor again."""
        self.shut.discard(place)
        self._enter(place)

    def least(self) -> int | None:
        """The open actor with the fewest calls, the least recently changed on a tie; None when all are closed."""
        return next((next(iter(places)) for places in self._open if places), None)

    def _leave(self, place: int) -> None:
        if place not in self.shut:
            self._open[self.counts[place]].pop(place, None)

    def _enter(self, place: int) -> None:
        if place in self.shut:
            return
        while len(self._open) <= self.counts[place]:
            self._open.append(OrderedDict())
        self._open[self.counts[place]][place] = None
