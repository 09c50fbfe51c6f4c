"""Makes annotated.jpg: what a model of the stand-in API finds, drawn by supervision."""

import asyncio
import io
from pathlib import Path

import numpy as np
import PIL.Image
import supervision

from roboflow_async import RoboflowClient
from roboflow_async.testing import StandInServer, draw_scene


async def main() -> None:
    scene = draw_scene(23, width=800, height=450, shapes=5)
    with StandInServer() as server:
        async with RoboflowClient("any", api_url=server.url) as client:
            model = client.model("shapes/1", task="instance-segmentation")
            found = (await model.run(scene.jpeg)).to_supervision()
    labels = [
        f"{name} {confidence:.2f}"
        for name, confidence in zip(found.data["class_name"], found.confidence, strict=True)
    ]
    # supervision draws as OpenCV does, where blue comes first.
    picture = np.asarray(PIL.Image.open(io.BytesIO(scene.jpeg)))[:, :, ::-1].copy()
    colours = supervision.ColorPalette.from_hex(["#7c3aed"])
    supervision.MaskAnnotator(colours, opacity=0.45).annotate(picture, found)
    supervision.BoxAnnotator(colours, thickness=3).annotate(picture, found)
    supervision.LabelAnnotator(colours, text_scale=0.55, text_padding=6).annotate(
        picture, found, labels
    )
    PIL.Image.fromarray(picture[:, :, ::-1]).save(Path(__file__).with_suffix(".jpg"), quality=80)


if __name__ == "__main__":
    asyncio.run(main())
