"""Reads an image again that was sent: a file, or an object in a storage."""

import asyncio
from pathlib import Path
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async._engine.images.reading.object_storage import ObjectStorage
from roboflow_async._engine.settings import Settings
from roboflow_async.cli.run.file_names import as_path, is_stored, is_url

__all__ = ["content_of"]

_LARGEST: Final = 256 * 1024 * 1024  # bytes; no larger image is sent
_ATTEMPTS: Final = 3


def content_of(item: str) -> bytes:
    """The bytes of an image, by its recorded name.

    Raises:
        RoboflowError: it is a URL, or the storage does not give it.
        OSError: the file cannot be read.
    """
    if is_url(item):
        raise ConfigurationError("it is a URL, whose picture the server alone has seen")
    if not is_stored(item):
        return Path(as_path(item)).read_bytes()
    storage = ObjectStorage(
        allow_paths=True,
        allow_urls=True,
        timeout=Settings.timeout,
        retry_wait=lambda failures: float(failures) if failures < _ATTEMPTS else None,
        free_descriptors=lambda: None,
    )
    content, _ = asyncio.run(storage.read(item, _LARGEST))
    return content
