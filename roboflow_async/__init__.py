"""An asyncio-native client for Roboflow inference, at the API's rate and without lost images."""

from typing import TYPE_CHECKING

from roboflow_async._client.client import RoboflowClient
from roboflow_async._engine.calls.stats import Stats
from roboflow_async._engine.images.decode import decode_image, open_image
from roboflow_async._engine.images.inputs import Image, ImageInput
from roboflow_async._engine.late_modules import late_names
from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async._engine.pace.protocols import RateLimiter
from roboflow_async._engine.public_names import show_as_public
from roboflow_async._engine.settings import RetryPolicy
from roboflow_async._engine.telemetry.hook import Hook
from roboflow_async._engine.telemetry.timings import Timings
from roboflow_async._targets.models.model import Model
from roboflow_async._targets.streams.results import Failure, Result, Success, WarmUpReport
from roboflow_async._targets.streams.stream import ResultStream
from roboflow_async._targets.workflows.workflow import Workflow
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    BatchError,
    BudgetExceededError,
    ClientClosedError,
    ConfigurationError,
    DeploymentError,
    ImageError,
    JournalError,
    NotFoundError,
    PayloadTooLargeError,
    QueueFullError,
    QueueTimeoutError,
    RateLimitError,
    RateLimiterUnavailableError,
    ResponseError,
    RoboflowError,
    ServerError,
    UsageLimitError,
    VideoError,
)

# `import roboflow_async.limiters` finds its module there, until 1.0.
__path__.append(f"{__path__[0]}/types/old_names")

if TYPE_CHECKING:
    from roboflow_async import endpoints as endpoints
    from roboflow_async import types as types
    from roboflow_async._engine.budget.budget import Budget
    from roboflow_async._engine.pace.redis_limiter import RedisRateLimiter
    from roboflow_async._platform.batch.job import BatchJob
    from roboflow_async._targets.endpoint import EndpointTarget
    from roboflow_async._targets.load_test import BenchmarkReport, benchmark
    from roboflow_async.types.workflow_predictions import to_supervision
else:
    __getattr__, __dir__ = late_names(
        globals(),
        {
            "Budget": "roboflow_async._engine.budget.budget",
            "BatchJob": "roboflow_async._platform.batch.job",
            "BenchmarkReport": "roboflow_async._targets.load_test",
            "EndpointTarget": "roboflow_async._targets.endpoint",
            "RedisRateLimiter": "roboflow_async._engine.pace.redis_limiter",
            "benchmark": "roboflow_async._targets.load_test",
            "to_supervision": "roboflow_async.types.workflow_predictions",
        },
        modules=("endpoints", "types"),
    )

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BatchError",
    "BatchJob",
    "BenchmarkReport",
    "Budget",
    "BudgetExceededError",
    "ClientClosedError",
    "ConfigurationError",
    "DeploymentError",
    "EndpointTarget",
    "Failure",
    "Hook",
    "Image",
    "ImageError",
    "ImageInput",
    "JournalError",
    "Model",
    "NotFoundError",
    "Pacer",
    "PayloadTooLargeError",
    "QueueFullError",
    "QueueTimeoutError",
    "RateLimitError",
    "RateLimiter",
    "RateLimiterUnavailableError",
    "RedisRateLimiter",
    "ResponseError",
    "Result",
    "ResultStream",
    "RetryPolicy",
    "RoboflowClient",
    "RoboflowError",
    "ServerError",
    "Stats",
    "Success",
    "Timings",
    "UsageLimitError",
    "VideoError",
    "WarmUpReport",
    "Workflow",
    "benchmark",
    "decode_image",
    "open_image",
    "to_supervision",
]

show_as_public(globals())
