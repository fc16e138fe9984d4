"""How many calls each place has under way; the least loaded is found without looking at all of them."""

from collections import OrderedDict


class CallCounts:
    """Calls by place. A place that is shut keeps its count and is not offered."""

    def __init__(self, num: int) -> None:
        self.counts = [0] * num
        self.shut: set[int] = set()
        self._open: list[OrderedDict[int, None]] = [OrderedDict.fromkeys(range(num))]
        """Open places by their count, those longest at it first."""

    def __len__(self) -> int:
        return len(self.counts)

    def add(self, place: int, calls: int) -> None:
        """Counts `calls` more at a place, or fewer."""
        self._leave(place)
        self.counts[place] += calls
        self._enter(place)

    def close(self, place: int) -> None:
        """Offers a place no more."""
        self._leave(place)
        self.shut.add(place)

    def open(self, place: int) -> None:
        """Offers a place again."""
        self.shut.discard(place)
        self._enter(place)

    def least(self) -> int | None:
        """The open place with the fewest calls, the one longest so if there are several; None when all are shut."""
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
