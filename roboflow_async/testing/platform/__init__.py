"""A stand-in for Roboflow's platform: what lies beside inference."""

from roboflow_async.testing.platform.knobs import PLATFORM_FAULTS, PlatformFault, PlatformKnobs
from roboflow_async.testing.platform.meter import Notification, PlatformMeter
from roboflow_async.testing.platform.server import StandInPlatform

__all__ = [
    "PLATFORM_FAULTS",
    "Notification",
    "PlatformFault",
    "PlatformKnobs",
    "PlatformMeter",
    "StandInPlatform",
]
