"""As the protocols of rate limiters were imported; until 1.0. See `roboflow_async.types`."""

from roboflow_async._engine.pace.protocols import *  # noqa: F403
