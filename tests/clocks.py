"""Clocks that tests set."""


class Clock:
    """Seconds that stand still until ``now`` is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now
