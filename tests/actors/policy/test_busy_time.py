"""Test of the busy timer: charges add up to the time with at least one caller."""

from actors.policy.busy_time import BusyTimer


class Watch:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_charges_add_up_to_the_busy_time() -> None:
    watch = Watch()
    meter = BusyTimer(watch)
    watch.now = 5.0  # no caller
    first = meter.enter()
    watch.now = 7.0
    second = meter.enter()
    watch.now = 11.0
    charged = [meter.leave(first)]
    watch.now = 12.0
    charged.append(meter.leave(second))
    watch.now = 20.0  # no caller again
    third = meter.enter()
    watch.now = 20.5
    charged.append(meter.leave(third))
    assert charged == [2 + 4 / 2, 4 / 2 + 1, 0.5]
    assert sum(charged) == (12 - 5) + 0.5
