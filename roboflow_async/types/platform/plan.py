"""What `client.plan` gives: how long the ways to do a job take, and what they cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from roboflow_async._engine.html import table
from roboflow_async._engine.jsonvalues import JSONObject

__all__ = ["Plan", "PlannedMachine", "PlannedWay", "PlannedWayName"]

PlannedWayName: TypeAlias = Literal["serverless", "deployment", "batch"]
PlannedMachine: TypeAlias = Literal["cpu", "gpu"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedWay:
    """One way to do a job: an estimate.

    Attributes:
        name: "serverless", "deployment" or "batch".
        seconds: how long all of it takes.
        steps: the seconds of each step of it, such as "upload" and "start".
        rate: images a second while it runs.
        credits: what it costs.
        assumed: what was assumed, and not given or measured: one sentence for each.
        measured: what was measured for it: one sentence for each.
        command: what to type for it.
    """

    name: PlannedWayName
    seconds: float
    steps: Mapping[str, float]
    rate: float
    credits: float
    assumed: tuple[str, ...]
    measured: tuple[str, ...]
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How long a job takes by each way, and what it costs: estimates.

    Attributes:
        images: how many there are.
        image_bytes: bytes of an image, in the mean.
        serverless: by the Serverless API, at the client's rate limit.
        deployment: by a Dedicated Deployment.
        batch: by Batch Processing.
        assumed: what was assumed for all of them.
    """

    images: int
    image_bytes: float
    serverless: PlannedWay
    deployment: PlannedWay
    batch: PlannedWay
    assumed: tuple[str, ...]

    @property
    def ways(self) -> tuple[PlannedWay, PlannedWay, PlannedWay]:
        """All three."""
        return self.serverless, self.deployment, self.batch

    def to_json(self) -> JSONObject:
        """The same, for JSON."""
        fields: dict[str, Any] = asdict(self)
        return fields

    def _repr_html_(self) -> str:
        """What a notebook shows: a table."""
        rows = [(way.name, way.seconds, way.credits, way.rate, way.command) for way in self.ways]
        return table(rows, ("way", "seconds", "credits", "images a second", "command"))
