"""A stand-in for the Roboflow API on loopback (extra `testing`).

For tests without a key, without a network and without a bill: a real HTTP server with a rate
limit, latency, cold starts and faults, whose detections are computed from the pixels it
receives (bright shapes on a dark ground). `pytest` finds its fixture `roboflow_stand_in` by
itself. `StandInPlatform` stands in for what lies beside inference: Data Staging, Batch Processing,
Dedicated Deployments and the workspace.

Every id works, and words in it choose what is found: "pets-seg/1" gives polygons,
"pets-keypoints/1" keypoints, "pets-classification/1" a class, any other boxes. The ids of Workflows
do the same.
"""

from roboflow_async._engine.public_names import show_as_public
from roboflow_async.testing.knobs import FAULTS, Fault, Knobs
from roboflow_async.testing.meter import Meter
from roboflow_async.testing.platform import (
    PLATFORM_FAULTS,
    Notification,
    PlatformFault,
    PlatformKnobs,
    PlatformMeter,
    StandInPlatform,
)
from roboflow_async.testing.scenes import Scene, draw_scene
from roboflow_async.testing.server import StandInServer

__all__ = [
    "FAULTS",
    "PLATFORM_FAULTS",
    "Fault",
    "Knobs",
    "Meter",
    "Notification",
    "PlatformFault",
    "PlatformKnobs",
    "PlatformMeter",
    "Scene",
    "StandInPlatform",
    "StandInServer",
    "draw_scene",
]


show_as_public(globals())
