"""Workflows and models on datasets of Ray Data, on one machine or many (extra `ray`).

    ds = ray.data.read_parquet("s3://bucket/images.parquet")  # with a column "path"
    ds = ray_inference(ds, workflow=("my-workspace", "my-workflow"), image="path")
    ds.write_parquet("s3://bucket/results")

Each row keeps its columns and gets `output`, `error`, `error_type`, `attempts` and `latency`. All
actors together keep one rate limit, without Redis.
"""

from roboflow_async._engine.public_names import show_as_public
from roboflow_async.ray.dataset import ray_inference
from roboflow_async.ray.inference import RoboflowInference
from roboflow_async.ray.limiter import RayRateLimiter

__all__ = ["RayRateLimiter", "RoboflowInference", "ray_inference"]

show_as_public(globals())
