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

from typing import TYPE_CHECKING

from roboflow_async._engine.late_modules import late_names
from roboflow_async._engine.public_names import show_as_public
from roboflow_async.testing.knobs import FAULTS, Fault, Knobs
from roboflow_async.testing.meter import Meter
from roboflow_async.testing.platform.knobs import PLATFORM_FAULTS, PlatformFault, PlatformKnobs
from roboflow_async.testing.platform.meter import Notification, PlatformMeter

# pytest imports this file wherever the package is installed. NumPy, SciPy, Pillow, Starlette and
# uvicorn come with the first test that needs them.
if TYPE_CHECKING:
    from roboflow_async.testing.platform.server import StandInPlatform
    from roboflow_async.testing.scenes import Scene, draw_scene
    from roboflow_async.testing.server import StandInServer
else:
    __getattr__, __dir__ = late_names(
        globals(),
        {
            "Scene": "roboflow_async.testing.scenes",
            "StandInPlatform": "roboflow_async.testing.platform.server",
            "StandInServer": "roboflow_async.testing.server",
            "draw_scene": "roboflow_async.testing.scenes",
        },
        modules=(),
    )

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
