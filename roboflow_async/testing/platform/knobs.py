"""The settings ("knobs") of the stand-in platform, and its named faults."""

import random
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final, Literal

from roboflow_async.testing.knobs import FAULTS

__all__ = ["PLATFORM_FAULTS", "READ", "TRIGGER", "KeyPlace", "PlatformFault", "PlatformKnobs"]

KeyPlace = Literal["header", "query", "body"]

READ: Final = "batch-processing:read"
TRIGGER: Final = "batch-processing:trigger"

OWN_FAULTS: Final = frozenset(
    {
        "missing_scope",
        "plan_required",
        "put_failed",
        "put_reset",
        "upload_url_expired",
        "download_url_expired",
        "shard_failed",
        "image_failed",
        "stage_error",
        "hostile_archive",
        "hostile_file_name",
        "webhook_twice",
        "webhook_lost",
        "deployment_failed",
        "delete_failed",
    }
)
PLATFORM_FAULTS: Final = FAULTS | OWN_FAULTS
"""The names of all faults of the platform: those of the stand-in API, for requests to the platform
and to its storage, and:

- `missing_scope`: 403, because the key lacks a scope; `plan_required`: 402 for a new job
- `put_failed`: 503 after an upload; `put_reset`: the connection is reset in the middle of one
- `upload_url_expired`, `download_url_expired`: 403, as if a signed URL were too old
- `shard_failed`: a shard cannot be indexed; `image_failed`: an image cannot be processed
- `stage_error`: a stage of a job ends with an error
- `hostile_archive`: a result's archive has members that would be written outside of the folder;
  `hostile_file_name`: a listed file has such a name
- `webhook_twice`, `webhook_lost`: a notification comes twice, or never
- `deployment_failed`: a deployment does not start; `delete_failed`: it is not deleted (500)
"""


@dataclass(kw_only=True)
class PlatformFault:
    """Something that goes wrong.

    Args:
        name: one of `PLATFORM_FAULTS`.
        share: the share of requests, images, shards or stages that have it, 0 to 1.
        times: the largest number of them; None: no limit.
        path: a regular expression; only requests whose path (such as "/get") it is found in.
        retry_after: the text of the response's `Retry-After`, if any.
    """

    name: str
    share: float = 1.0
    times: int | None = None
    path: str = ""
    retry_after: str | None = None

    def __post_init__(self) -> None:
        if self.name not in PLATFORM_FAULTS:
            known = ", ".join(sorted(PLATFORM_FAULTS))
            raise ValueError(f"name={self.name!r} is not known: give one of {known}")

    def strikes(self, chance: random.Random, path: str) -> bool:
        """Whether this one has the fault; counts it.

        Args:
            chance: gives numbers from 0 to 1.
            path: the path of the request.
        """
        if self.times == 0 or not re.search(self.path, path) or chance.random() >= self.share:
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(kw_only=True)
class PlatformKnobs:
    """The settings of the stand-in platform. Every field may be changed while it runs.

    All times are in seconds of the platform, which `speed` and `advance` let pass.

    Args:
        workspace: the workspace of the key.
        api_key: the only accepted key; None: any key, but one is needed.
        publishable_key: what notifications carry in their `Authorization`.
        scopes: what the key may do.
        platform_key_places: where the workspace's and Batch Processing's endpoints read the key.
        staging_key_places: where Data Staging reads it. (No source shows it in the header.)
        deployment_key_places: where the API of Dedicated Deployments reads it. (As for staging.)
        members: the email addresses that may create a deployment; None: any, or none.
        machine_types: the machines for deployments, with their descriptions.
        requests_per_second: requests that are accepted in any rolling real second; others get a
            429. None: no limit.
        indexing: until an upload in bulk is registered.
        url_lifetime: until a signed URL expires.
        data_lifetime: until a batch expires.
        job_start: until a job starts.
        images_per_second: what one task of a job does on a CPU; on a GPU four times that.
        max_parallel_tasks: tasks at the same time, if the job does not say.
        export: how long the export of a job's results takes.
        staging: until a job on the asset library has its images.
        deployment_start: until a new or resumed deployment is ready.
        page_size: items in a page, if the request does not say.
        max_image_bytes: a larger image gets a 413.
        max_shard_images: a shard with more images cannot be indexed.
        faults: faults that may happen; each time at most one does, the first that applies.
        seed: the seed for everything random.
    """

    workspace: str = "my-workspace"
    api_key: str | None = None
    publishable_key: str = "rf_publishable_of_the_stand_in"
    scopes: Collection[str] = (READ, TRIGGER)
    platform_key_places: Collection[KeyPlace] = ("header", "query")
    staging_key_places: Collection[KeyPlace] = ("query",)
    deployment_key_places: Collection[KeyPlace] = ("query", "body")
    members: Collection[str] | None = None
    machine_types: dict[str, str] = field(
        default_factory=lambda: {"dev-cpu": "4 vCPU", "dev-gpu": "1x T4", "gpu-small": "1x T4"}
    )
    requests_per_second: int | None = None
    indexing: float = 20.0
    url_lifetime: float = 3600.0
    data_lifetime: float = 7 * 86_400.0
    job_start: float = 180.0
    images_per_second: float = 5.0
    max_parallel_tasks: int = 4
    export: float = 30.0
    staging: float = 30.0
    deployment_start: float = 120.0
    page_size: int = 100
    max_image_bytes: int = 20_971_520
    max_shard_images: int = 500
    faults: list[PlatformFault] = field(default_factory=list[PlatformFault])
    seed: int = 0
