"""Bundle of resources: the request of one actor of a pool."""

from dataclasses import dataclass, field


@dataclass(kw_only=True)
class Bundle:
    """Resources requested by one actor of a pool."""

    cpus: float
    gpus: float = 0.0
    resources: dict[str, float] = field(default_factory=dict)

    @property
    def request(self) -> dict[str, float]:
        """The nonzero resources, as a Ray placement group expects them."""
        asked = {"CPU": self.cpus, "GPU": self.gpus, **self.resources}
        return {name: amount for name, amount in asked.items() if amount > 0}
