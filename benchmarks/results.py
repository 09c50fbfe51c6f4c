"""What a typed result costs: CPU time from the bytes of a response, beside `json.loads` alone.

    python benchmarks/results.py [--boxes 300] [--points 60] [--rounds 7]

A detector's boxes; boxes with masks (RLE); boxes with outlines of so many points. Ours is the whole
way from bytes to the model that `await model.run(...)` gives: JSON, no infinite numbers, types,
bounds on memory. "pydantic" is its `validate_json` into the same types and nothing else.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable

from roboflow_async import RoboflowClient
from roboflow_async._engine.api.requests import PreparedRequest
from roboflow_async._engine.api.responses import Response
from roboflow_async._targets.models.codec import adapter_of_prediction
from roboflow_async._targets.prepared import Prepared
from roboflow_async.types import InstanceSegmentation, ObjectDetection


def response(kind: str, boxes: int, points: int) -> bytes:
    dice = random.Random(1)
    predictions: list[dict[str, object]] = []
    for _ in range(boxes):
        x, y = dice.uniform(0, 4000), dice.uniform(0, 3000)
        box: dict[str, object] = {
            "x": round(x, 1), "y": round(y, 1), "width": 40.5, "height": 33.0,
            "confidence": dice.random(), "class": "triangle", "class_id": 2,
            "detection_id": f"{dice.getrandbits(128):032x}",
        }  # fmt: skip
        if kind == "outlines":
            box["points"] = [
                {"x": round(x + 20 * dice.random(), 2), "y": round(y + 20 * dice.random(), 2)}
                for _ in range(points)
            ]
        elif kind == "masks":
            counts = "".join(dice.choice("abcdefghijkl0123") for _ in range(2 * points))
            box |= {"rle": {"size": [3000, 4000], "counts": counts}, "mask_format": "rle"}
        predictions.append(box)
    size = {"width": 4000, "height": 3000}
    return json.dumps({"time": 0.1, "image": size, "predictions": predictions}).encode()


def compared(ways: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Seconds of CPU, the median of the rounds, which take turns."""
    seen: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began, count = time.process_time(), 0
            while time.process_time() - began < 0.1:
                way()
                count += 1
            seen[name].append((time.process_time() - began) / count)
    return {name: statistics.median(values) for name, values in seen.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="What a typed result costs, beside `json.loads`.")
    parser.add_argument("--boxes", type=int, default=300)
    parser.add_argument("--points", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    model = RoboflowClient("any", api_url="http://127.0.0.1:9").model("any/1")
    prepared = Prepared(PreparedRequest("/any/1"), None)
    for kind in ("boxes", "masks", "outlines"):
        content = response(kind, options.boxes, options.points)
        typed = ObjectDetection if kind == "boxes" else InstanceSegmentation
        adapter = adapter_of_prediction(typed)
        came = Response(200, {}, content)
        costs = compared(
            {
                "json.loads": lambda content=content: json.loads(content),
                "pydantic": lambda content=content, adapter=adapter: adapter.validate_json(content),
                "ours": lambda came=came: model._codec.parse(prepared, came),
            },
            options.rounds,
        )
        told = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in costs.items())
        ratio = costs["ours"] / costs["json.loads"]
        print(f"{kind:<9} {len(content) / 1e3:4.0f} KB: {told}; {ratio:.2f} x json.loads")


if __name__ == "__main__":
    main()
