"""A Workflow on the images of a Daft dataframe: one client for each process, one shared rate limit.

    pip install daft 'roboflow-async[redis,fsspec]'
    REDIS_URL=redis://localhost python examples/daft_images.py 's3://bucket/*.jpg' results.parquet

What Daft cannot do: it waits for the whole batch before it takes the next one, so its slowest image
holds it up; it knows single calls, which fail soon while the API is away, where a stream waits;
and what a killed query has done is lost. On a Ray cluster, `roboflow_async.ray` does all three.
"""

import json
import os
import sys
from functools import cache
from typing import Any

import daft
from daft import DataType

from roboflow_async import RedisRateLimiter, RoboflowClient, RoboflowError
from roboflow_async.errors import is_fatal


@cache
def client() -> RoboflowClient:
    """The client of this process."""
    url = os.environ.get("REDIS_URL")  # without it, each process keeps the rate limit for itself
    return RoboflowClient(limiter=RedisRateLimiter(url) if url else None)


RESULT = DataType.struct({"output": DataType.string(), "error": DataType.string()})


@daft.func(return_dtype=RESULT, unnest=True, max_concurrency=32)
async def workflow(path: str) -> dict[str, Any]:
    try:
        # Daft writes paths of this machine as file://.
        run = client().workflow("my-workspace", "my-workflow").run
        output = await run(path.removeprefix("file://"))
        return {"output": json.dumps(output), "error": None}
    except RoboflowError as error:
        if is_fatal(error):  # a wrong key, for example: the query ends
            raise
        return {"output": None, "error": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    images = daft.from_glob_path(sys.argv[1])
    images.select("path", workflow(images["path"])).write_parquet(sys.argv[2])
