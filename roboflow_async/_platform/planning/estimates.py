"""How long a job takes by each way. Pure arithmetic: nothing is asked and nothing is read."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from roboflow_async._engine.api.credits import serverless_credits

__all__ = [
    "Batch",
    "Deployment",
    "Estimate",
    "Serverless",
]

_HOUR: Final = 3600.0
_BASE64: Final = 4 / 3
_FEW_AT_A_SECOND: Final = 5.0  # the pace of the platform, at which a few images go one by one


@dataclass(frozen=True, slots=True)
class Estimate:
    """What comes out.

    Attributes:
        steps: the seconds of each step.
        rate: images a second while it runs.
        credits: what it costs.
    """

    steps: Mapping[str, float]
    rate: float
    credits: float

    @property
    def seconds(self) -> float:
        """How long all of it takes."""
        return math.fsum(self.steps.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Serverless:
    """The Serverless API: one request for each image, at a pace.

    Args:
        rate_limit: requests a second; None: as many as are in flight.
        concurrency: requests in flight at most.
        latency: seconds from a request to its response.
        processing_time: seconds that the API works on an image.
        upload: bytes a second that this machine can send.
    """

    rate_limit: float | None
    concurrency: int
    latency: float
    processing_time: float
    upload: float

    def estimate(self, images: int, image_bytes: float) -> Estimate:
        """How long so many images of this size take."""
        rate = min(
            self.rate_limit or math.inf,
            self.concurrency / self.latency,
            self.upload / (image_bytes * _BASE64),
        )
        # The last one leaves when all others have left, and then its response is waited for.
        steps = {"requests": (images - 1) / rate, "last response": self.latency}
        return Estimate(steps, rate, images * serverless_credits(self.processing_time))


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A Dedicated Deployment: a machine that starts, and then works as fast as it can.

    Args:
        rate: images a second that it does.
        start: seconds until it is ready; 0: it is.
        slow_start: seconds that are lost until it is as busy as it can be.
        upload: bytes a second that this machine can send.
        credits_per_hour: its price.
    """

    rate: float
    start: float
    slow_start: float
    upload: float
    credits_per_hour: float

    def estimate(self, images: int, image_bytes: float) -> Estimate:
        """How long so many images of this size take."""
        rate = min(self.rate, self.upload / (image_bytes * _BASE64))
        steps = {"start": self.start, "requests": self.slow_start + images / rate}
        return Estimate(steps, rate, sum(steps.values()) / _HOUR * self.credits_per_hour)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Batch Processing: an upload, and a job with tasks on several machines.

    Args:
        rate: images a second that one machine does.
        machines: tasks that are done at once, each on a machine.
        task_images: images of a task.
        few: so many images are uploaded one by one, and are one task.
        registration: seconds until an upload is registered.
        start: seconds until a job starts.
        export: seconds to export its results.
        upload: bytes a second that this machine can send.
        credits_per_hour: the price of one machine.
    """

    rate: float
    machines: int
    task_images: int
    few: int
    registration: float
    start: float
    export: float
    upload: float
    credits_per_hour: float

    def estimate(self, images: int, image_bytes: float) -> Estimate:
        """How long so many images of this size take."""
        is_few = images <= self.few
        upload = images * image_bytes / self.upload
        processing = self._busiest(images) / self.rate
        steps = {
            "upload": max(upload, images / _FEW_AT_A_SECOND if is_few else 0.0),
            "registration": 0.0 if is_few else self.registration,
            "start": self.start,
            "processing": processing,
            "export": self.export,
        }
        hours = images / self.rate / _HOUR  # of all machines together
        return Estimate(steps, images / processing, hours * self.credits_per_hour)

    def _busiest(self, images: int) -> int:
        """Images of the machine with the most: each takes the next task when it is free."""
        whole, rest = divmod(images, self.task_images)
        rounds, more = divmod(whole, self.machines)
        if more:  # a task that is not full ends no later than those beside it
            return (rounds + 1) * self.task_images
        return rounds * self.task_images + rest
