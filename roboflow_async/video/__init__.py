"""Videos and cameras: their frames, at a rate, with their times (extra `video`).

    async for result in workflow.stream(video.frames("clip.mp4", fps=2)):
        print(result.input.time, result.input.index, result.output)

Workflows over HTTP are stateless: each request is on its own, so trackers, counters and other
blocks that remember frames begin anew with each one. What a block can use is the time and the
number of its own frame, which are sent beside the image.
"""

from roboflow_async._engine.public_names import show_as_public
from roboflow_async.errors import VideoError as VideoError
from roboflow_async.video.frame import Frame
from roboflow_async.video.frames import Frames, frames
from roboflow_async.video.handover import Counts
from roboflow_async.video.merging import merge
from roboflow_async.video.reconnecting import ConnectionEvent, Reconnect

__all__ = ["ConnectionEvent", "Counts", "Frame", "Frames", "Reconnect", "frames", "merge"]

show_as_public(globals())
