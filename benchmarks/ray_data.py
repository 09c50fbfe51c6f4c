"""A dataset of Ray Data on a local Ray: one rate limit, a pause, a killed actor, and memory.

    python benchmarks/ray_data.py [--actors 4] [--ceiling 20] [--rows 1200] [--memory-rows 100000]

The stand-in API counts in a rolling second and rejects what is above; it is a process of its own.

1. All actors share the rate limit. Halfway, one of them is killed with -9.
2. The consumer pauses for 30 seconds, while an attempt may take 2.
3. Many rows without a rate limit: the memory of the actor, in MB, in each tenth of the time.
"""

import argparse
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ceiling import stand_in_process
from harness.fast_server import fast_server
from harness.local_ray import kill_one, local_ray, processes, ray

from roboflow_async.ray import ray_inference
from roboflow_async.testing import draw_scene

KEY = "any"


def dataset(rows: int, folder: Path) -> Any:
    path = folder / "image.jpg"
    path.write_bytes(draw_scene(1).jpeg)
    return ray.data.range(rows).add_column("path", lambda batch: [str(path)] * len(batch))


def shared(options: argparse.Namespace, folder: Path, *, kill: bool) -> dict[str, Any]:
    with stand_in_process(requests_per_second=options.ceiling, latency=0.3) as (url, seen):
        ds = ray_inference(
            dataset(options.rows, folder),
            workflow=("any", "any"),
            image="path",
            actors=options.actors,
            requests_per_second=options.ceiling,
            batch_size=options.batch_size,
            api_key=KEY,
            api_url=url,
        )
        ids, errors, killed = Counter[int](), Counter[str | None](), 0
        for row in ds.iter_rows():
            ids[row["id"]] += 1
            errors[row["error_type"]] += 1
            if kill and not killed and len(ids) >= options.rows // 2:
                killed = kill_one("MapWorker")
    return {
        "rows": options.rows,
        "killed": killed,
        "lost": options.rows - len(ids),
        "more than once": sum(count > 1 for count in ids.values()),
        "errors": sum(errors.values()) - errors[None],
        "requests": seen["requests"],
        "rejected": seen["rejected"],
        "most in any rolling second": seen["busiest"],
        "of the ceiling": f"{seen['rps'] / options.ceiling:.1%}",
    }


def paused(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    rows = 2000
    with stand_in_process(requests_per_second=None, latency=0.1) as (url, seen):
        ds = ray_inference(
            dataset(rows, folder),
            workflow=("any", "any"),
            image="path",
            actors=1,
            requests_per_second=None,
            timeout=2,
            batch_size=64,
            api_key=KEY,
            api_url=url,
        )
        errors, count = Counter[str | None](), 0
        for row in ds.iter_rows():
            errors[row["error_type"]] += 1
            count += 1
            if count == 100:
                time.sleep(options.pause)
    failed = count - errors[None]
    return {"rows": count, "pause": options.pause, "errors": failed, "requests": seen["requests"]}


def memory(options: argparse.Namespace) -> dict[str, Any]:
    rows = options.memory_rows
    with fast_server() as server:
        ds = ray.data.range(rows).add_column(
            "bytes", lambda batch: [b"\xff\xd8\xff\xe0" + b"%d" % one for one in batch["id"]]
        )
        ds = ray_inference(
            ds,
            workflow=("any", "any"),
            image="bytes",
            actors=1,
            requests_per_second=None,
            batch_size=256,
            api_key=KEY,
            api_url=server.url,
        )
        used: list[float] = []
        done, began = 0, time.monotonic()
        for row in ds.iter_rows():
            done += row["error"] is None
            if done % (rows // 10) == 1:
                sizes = [one.memory_full_info().uss for one in processes("MapWorker")]
                used.append(round(max(sizes) / 2**20))
    return {
        "rows": rows,
        "done": done,
        "a second": round(done / (time.monotonic() - began)),
        "MB": used,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--actors", type=int, default=4)
    parser.add_argument("--ceiling", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--pause", type=float, default=30)
    parser.add_argument("--memory-rows", type=int, default=100_000)
    parser.add_argument("--only", choices=["shared", "killed", "paused", "memory"])
    options = parser.parse_args()
    with local_ray(), TemporaryDirectory() as folder:
        parts = {
            "shared": lambda: shared(options, Path(folder), kill=False),
            "killed": lambda: shared(options, Path(folder), kill=True),
            "paused": lambda: paused(options, Path(folder)),
            "memory": lambda: memory(options),
        }
        for name, measure in parts.items():
            if options.only in (None, name):
                print(name, measure(), flush=True)


if __name__ == "__main__":
    main()
