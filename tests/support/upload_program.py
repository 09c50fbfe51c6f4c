"""Uploads a folder to the batch `photos`: python upload_program.py URL FOLDER JOURNAL."""

import asyncio
import sys
from pathlib import Path

from roboflow_async import RetryPolicy
from roboflow_async._engine.runtime import Engine
from roboflow_async._engine.settings import Settings
from roboflow_async._platform import service
from roboflow_async._platform.service import PlatformService, service_settings
from roboflow_async._platform.staging import registration, upload
from roboflow_async._platform.staging.calls import StagingCalls
from roboflow_async._platform.staging.journal import UploadJournal
from roboflow_async._platform.staging.reading import InputReader
from roboflow_async._platform.staging.sending import Sender
from roboflow_async._platform.staging.storage import CloudStorage
from roboflow_async._platform.staging.upload import Uploader

service.REQUESTS_PER_SECOND = 1000.0
registration._SETTLED = 0.1
registration._POLL = (0.02, 0.1)
upload._SHARD_IMAGES = 20


async def main(url: str, folder: str, journal: str) -> None:
    policy = RetryPolicy(max_attempts=20, base=0.001, max_wait=0.01)
    settings = Settings.resolve({"api_key": "any", "retry": policy})
    asked = PlatformService(service_settings(settings, url), "query")
    engine, storage = Engine(settings), CloudStorage(settings)
    calls = StagingCalls(asked, "my-workspace", "photos")
    registered = registration.Registration(calls)
    sender = Sender(calls, storage, registered, policy)
    written = UploadJournal(Path(journal), "photos")
    uploader = Uploader(written, InputReader(engine.runtime().loader), sender, registered)
    done = await uploader.upload(sorted(Path(folder).iterdir()))  # noqa: ASYNC240
    written.close()
    await registered.wait(len(done.names), 60)
    for one in (asked, storage, engine):
        await one.aclose()


asyncio.run(main(*sys.argv[1:]))
