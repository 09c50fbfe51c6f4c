"""As `roboflow_async.types` was called; until 1.0."""

from roboflow_async.types.base import *  # noqa: F403
from roboflow_async.types.predictions import *  # noqa: F403
