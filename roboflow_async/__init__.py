"""An asyncio-native client for Roboflow inference: at the API's rate, losing nothing."""

from roboflow_async.benchmark import BenchmarkReport, benchmark
from roboflow_async.client import RoboflowClient
from roboflow_async.config import RetryPolicy
from roboflow_async.endpoint_target import EndpointTarget
from roboflow_async.errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeoutError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ImageError,
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
)
from roboflow_async.images import Image, ImageInput
from roboflow_async.limiters import RateLimiter
from roboflow_async.model import Model
from roboflow_async.outputs import decode_image, open_image
from roboflow_async.pacing import Pacer
from roboflow_async.redis import RedisRateLimiter
from roboflow_async.results import Result, Stats, WarmUpReport
from roboflow_async.stream import ResultStream
from roboflow_async.workflow import Workflow

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "BenchmarkReport",
    "ConfigurationError",
    "EndpointTarget",
    "Image",
    "ImageError",
    "ImageInput",
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
    "UsageLimitError",
    "WarmUpReport",
    "Workflow",
    "benchmark",
    "decode_image",
    "open_image",
]
