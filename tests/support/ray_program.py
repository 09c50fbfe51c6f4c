"""Starts a local Ray of 2 CPUs, runs jobs on it, ends it, and prints what it saw as JSON.

    python tests/support/ray_program.py FOLDER

A program of its own, so that one start serves all tests, and none of Ray stays in their process.
"""

import io
import json
import os
import re
import sys
import time
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import psutil
from harness.local_ray import kill_one, local_ray, processes, ray
from pydantic import BaseModel

from roboflow_async import RoboflowError
from roboflow_async.ray import RoboflowInference, ray_inference
from roboflow_async.ray.limiter import Schedules
from roboflow_async.testing import StandInServer, draw_scene

KEY = "rf_SECRETkey0123456789"
CEILING = 40
SCENES = [draw_scene(seed) for seed in range(6)]


class Seen(BaseModel):
    count: int


def survive(folder: Path) -> dict[str, Any]:
    """A job whose actor is killed, and the actor of its rate limit, too."""
    images = sorted(folder.glob("*.jpg"))
    rows = [{"id": index, "path": str(images[index % len(images)])} for index in range(240)]
    for bad in (3, 200, 239):
        rows[bad]["path"] = str(folder / "none.jpg")
    with StandInServer(requests_per_second=CEILING, latency=0.1) as server:
        ds = ray_inference(
            ray.data.from_items(rows),
            workflow=("any", "any"),
            image="path",
            actors=2,
            requests_per_second=CEILING,
            batch_size=32,
            api_key=KEY,
            api_url=server.url,
        )
        ids = Counter[int]()
        errors = dict[int, str]()
        right = kills = 0
        for row in ds.iter_rows():
            if sum(ids.values()) == 60:
                kills += kill_one("MapWorker")
            if sum(ids.values()) == 150:
                kills += kill_one("Schedules")
            ids[row["id"]] += 1
            if row["error"] is not None:
                errors[row["id"]] = row["error_type"]
            else:
                expected = len(SCENES[row["id"] % len(SCENES)].boxes)
                right += json.loads(row["output"])["count"] == expected
        arrivals = server.meter.arrivals
        return {
            "kills": kills,
            "once": len(ids),
            "most": max(ids.values()),
            "errors": errors,
            "right": right,
            "columns": list(row),
            "rate": len(arrivals) / (arrivals[-1] - arrivals[0]),
        }


def refused() -> dict[str, Any]:
    """What is told of a key that the API refuses."""
    with StandInServer(api_key="another") as server:
        ds = ray.data.from_items([{"id": index, "bytes": SCENES[0].jpeg} for index in range(64)])
        ds = ray_inference(
            ds, model="shapes/1", image="bytes", actors=1, api_key=KEY, api_url=server.url
        )
        try:
            ds.take_all()
        except (RoboflowError, ray.exceptions.RayError) as error:
            name = f"{type(error).__name__} {isinstance(error, RoboflowError)}"
            return {"kind": name, "told": str(error), "requests": server.meter.requests}
    return {}


def paused(folder: Path) -> dict[str, Any]:
    """Pictures as Ray reads them, columns of a type, and a consumer that pauses."""
    with StandInServer(requests_per_second=None, latency=0.05) as server:
        ds = ray.data.read_images(str(folder), include_paths=True)
        ds = ray_inference(
            ds.repartition(1),
            workflow={"workspace_name": "any", "workflow_id": "any"},
            image="array",
            output=Seen,
            actors=1,
            requests_per_second=None,
            timeout=2,
            batch_size=2,
            api_key=KEY,
            api_url=server.url,
        )
        found: list[tuple[str, int | None, str | None]] = []
        for row in ds.iter_rows():
            found.append((Path(row["path"]).stem, row["count"], row["error"]))
            if len(found) == 1:
                time.sleep(5)
    return {
        "columns": list(row),
        "wrong": [one for one in found if one[1] != len(SCENES[int(one[0])].boxes)],
        "rows": len(found),
    }


def by_hand() -> list[Any]:
    """The class itself, in the format of batches that Ray takes if nobody says another."""
    with StandInServer(requests_per_second=None) as server:
        ds = ray.data.from_items([{"id": index, "bytes": SCENES[1].jpeg} for index in range(5)])
        rows = ds.map_batches(
            RoboflowInference,
            fn_constructor_kwargs={
                "workflow": ("any", "any"),
                "image": "bytes",
                "api_url": server.url,
                "requests_per_second": None,
            },
            num_cpus=0.25,
            compute=ray.data.ActorPoolStrategy(size=1),
        ).take_all()
    return sorted((row["id"], row["error"]) for row in rows)


def idle() -> bool:
    """Whether the actor of a rate limit ends when nobody uses it."""
    remote: Any = ray.remote(Schedules)
    actor = remote.options(name="idle", lifetime="detached", num_cpus=0, max_restarts=-1).remote(
        0.5
    )
    ray.get(actor.reserve.remote("a", 20.0, 1, -1, 0.0, False, 0.0))
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            ray.get_actor("idle")
        except ValueError:
            return True
        time.sleep(0.1)
    return False


def shows_key(folder: Path) -> list[str]:
    """Files of Ray's that hold the key."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if KEY.encode() in path.read_bytes()]


def guide(folder: Path) -> list[str]:
    """What the example of the guide prints, and what the guide says that it prints."""
    page = Path(__file__).parents[2] / "docs" / "guides" / "ray.md"
    found = re.search(r"```python\n(.*?)```\s+```text\n(.*?)```", page.read_text(), re.DOTALL)
    assert found
    (folder / "data").mkdir()
    for number in range(1, 7):
        (folder / "data" / f"{number:04}.jpg").write_bytes(draw_scene(number).jpeg)
    os.chdir(folder)
    with StandInServer() as server, redirect_stdout(io.StringIO()) as printed:
        os.environ |= {"ROBOFLOW_API_KEY": KEY, "ROBOFLOW_API_URL": server.url}
        exec(found[1], {"__name__": "guide"})
    return [printed.getvalue(), found[2]]


def main(folder: Path) -> None:
    for index, scene in enumerate(SCENES):
        (folder / f"{index}.jpg").write_bytes(scene.jpeg)
    with local_ray() as written:
        seen: dict[str, Any] = {
            "survive": survive(folder),
            "refused": refused(),
            "paused": paused(folder),
            "by hand": by_hand(),
            "idle": idle(),
            "key": shows_key(written),
            "guide": guide(folder),
        }
    _, left = psutil.wait_procs(processes(), timeout=120)
    seen["left"] = [" ".join(one.cmdline())[:200] for one in left]
    print(json.dumps(seen))  # as the last line: Ray prints, too


if __name__ == "__main__":
    main(Path(sys.argv[1]))
