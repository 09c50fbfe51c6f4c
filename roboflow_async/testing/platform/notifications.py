"""Sends the platform's notifications to the URLs that requests name."""

import asyncio
import uuid
from typing import Any, Final

import httpx

from roboflow_async._engine.http.host_header import is_loopback
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.testing.platform.core import Core
from roboflow_async.testing.platform.meter import Notification

__all__ = ["Notifications"]

_ATTEMPTS: Final = 3


class Notifications:
    """Posts notifications, each up to three times until the receiver takes it.

    They carry the workspace's publishable key in `Authorization`, and go only to this machine.

    Args:
        core: what all services share.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._sending: set[asyncio.Task[None]] = set()

    def job_ended(self, url: str | None, job_id: str, *, success: bool) -> None:
        """Tell that a job has ended."""
        state = "success" if success else "fail"
        kind = "roboflow-batch-job-notification-v1"
        self._send(url, {"type": kind, "job_id": job_id, "job_state": state})

    def shard_ended(
        self,
        url: str | None,
        ingest_id: str | None,
        batch_id: str,
        shard_id: str | None,
        *,
        ingested: list[str],
        failed: list[str],
        problem: str | None,
        with_files: bool = False,
    ) -> None:
        """Tell how the registration of a shard went."""
        notification: JSONObject = {
            "type": "ingest-status-notification-v1",
            "success": problem is None,
        }
        if problem is not None:
            notification["error_details"] = {"type": "shard-rejected", "reason": problem}
        common = {
            "type": "roboflow-data-staging-notification-v1",
            "ingest_id": ingest_id,
            "batch_id": batch_id,
            "shard_id": shard_id,
        }
        self._send(url, {**common, "notification": notification})
        if with_files:
            files = {
                **notification,
                "type": "ingest-files-status-notification-v1",
                "ingested_files": ingested[:100],
                "failed_files": [
                    {"type": "not-available", "file_name": name, "reason": "cannot be fetched"}
                    for name in failed[:100]
                ],
                "content_truncated": max(len(ingested), len(failed)) > 100,
            }
            self._send(url, {**common, "notification": files})

    def _send(self, url: str | None, body: JSONObject) -> None:
        if url is None or self._core.strikes("webhook_lost", url):
            return
        body = {"event_id": str(uuid.uuid4()), **body}
        times = 2 if self._core.strikes("webhook_twice", url) else 1
        task = asyncio.get_running_loop().create_task(self._deliver(url, body, times))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _deliver(self, url: str, body: JSONObject, times: int) -> None:
        headers = {"Authorization": self._core.knobs.publishable_key}
        attempt = 0
        async with httpx.AsyncClient(timeout=10, trust_env=False) as client:
            for _ in range(times):
                for _ in range(_ATTEMPTS):
                    attempt += 1
                    numbered: JSONObject = {**body, "delivery_attempt": attempt}
                    status = await _post(client, url, numbered, headers)
                    self._core.meter.notifications.append(Notification(url, numbered, status))
                    if 200 <= status < 300:
                        break


async def _post(client: httpx.AsyncClient, url: str, body: Any, headers: dict[str, str]) -> int:
    try:
        if not is_loopback(httpx.URL(url).host):
            return 0
        return (await client.post(url, json=body, headers=headers)).status_code
    except (httpx.HTTPError, httpx.InvalidURL):
        return 0
