"""The stand-in's cloud storage: files on disk behind signed URLs that expire."""

import secrets
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.testing.platform.core import TRANSPORT, Core

__all__ = ["Arrived", "Storage", "StoredFile"]

Arrived = Callable[[Path, int, float], Awaitable[None]]
"""Called with the file of an upload that has arrived whole, its bytes, and when."""

_PIECE: Final = 256 * 1024
_SIGNED_HEADER: Final = "x-upload-content-length-range"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file, alone or within a tar archive.

    Attributes:
        name: what the batch calls it.
        path: where it is on disk.
        size: its bytes.
        offset: where it begins in the file on disk.
        content_type: images, videos, metadata or archives.
        nested_content_type: what is in an archive.
    """

    name: str
    path: Path
    size: int
    offset: int = 0
    content_type: str = "images"
    nested_content_type: str | None = None

    def read(self) -> bytes:
        """Its bytes."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, piece by piece."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            left = self.size
            while left and (piece := file.read(min(_PIECE, left))):
                left -= len(piece)
                yield piece


@dataclass(slots=True)
class _Upload:
    expires: float
    max_bytes: int
    arrived: Arrived
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Storage:
    """Keeps files, and gives out signed URLs for uploads and downloads.

    Args:
        core: what all services share.
        base_url: gives the URL of this server.
    """

    def __init__(self, core: Core, base_url: Callable[[], str]) -> None:
        self._core = core
        self._base_url = base_url
        self._folder = tempfile.TemporaryDirectory(prefix="roboflow-stand-in-")
        self._numbers = count()
        self._uploads: dict[str, _Upload] = {}
        self._downloads: dict[str, tuple[float, StoredFile]] = {}

    def close(self) -> None:
        """Delete all files."""
        self._folder.cleanup()

    def new_path(self) -> Path:
        """A path for a new file."""
        return Path(self._folder.name) / f"{next(self._numbers):08}"

    def keep(
        self,
        name: str,
        content: bytes,
        content_type: str = "images",
        nested_content_type: str | None = None,
    ) -> StoredFile:
        """Store a file."""
        path = self.new_path()
        path.write_bytes(content)
        return StoredFile(name, path, len(content), 0, content_type, nested_content_type)

    def upload_details(self, max_bytes: int, arrived: Arrived) -> JSONObject:
        """A new signed URL for an upload, as `signedURLDetails`."""
        token = secrets.token_urlsafe(16)
        expires = self._core.now() + self._core.knobs.url_lifetime
        headers = {_SIGNED_HEADER: f"0,{max_bytes}"}
        self._uploads[token] = _Upload(expires, max_bytes, arrived, headers)
        return {
            "uploadURL": f"{self._base_url()}/storage/upload/{token}?X-Signature=stand-in",
            "method": "PUT",
            "extensionHeaders": headers,
            "maxFileSize": max_bytes,
        }

    def download_url(self, file: StoredFile) -> str:
        """A new signed URL for a download."""
        token = secrets.token_urlsafe(16)
        self._downloads[token] = (self._core.now() + self._core.knobs.url_lifetime, file)
        return f"{self._base_url()}/storage/download/{token}?X-Signature=stand-in"

    def routes(self) -> list[Route]:
        """The routes of the storage."""
        put = self._core.endpoint("storage", self._put)
        get = self._core.endpoint("storage", self._get)
        return [
            Route("/storage/upload/{token}", put, methods=["PUT"]),
            Route("/storage/download/{token}", get, methods=["GET"]),
        ]

    async def _put(self, request: Request) -> Response:
        response = await self._receive(request)
        self._core.meter.puts[response.status_code] += 1
        return response

    async def _receive(self, request: Request) -> Response:
        upload = self._uploads.get(request.path_params["token"])
        refusal = self._refusal(request, upload.expires if upload else 0.0, "upload_url_expired")
        if upload is None or refusal is not None:
            return refusal or _xml(404, "NoSuchKey")
        if any(request.headers.get(name) != value for name, value in upload.headers.items()):
            return _xml(403, "SignatureDoesNotMatch")
        is_cut = self._core.strikes("put_reset", request.url.path)
        path, size = self.new_path(), 0
        try:
            with path.open("wb") as file:
                async for piece in request.stream():
                    size += len(piece)
                    if size > upload.max_bytes or (is_cut and piece):
                        break
                    file.write(piece)
        except ClientDisconnect:
            path.unlink()
            return _xml(400, "IncompleteBody")
        self._core.meter.put_bytes += size
        response = Response()
        if is_cut:
            request.scope[TRANSPORT].abort()
            response = _xml(500, "InternalError")
        elif size > upload.max_bytes:
            response = _xml(400, "EntityTooLarge")
        elif self._core.strikes("put_failed", request.url.path):
            response = _xml(503, "ServiceUnavailable")
        if response.status_code != 200:
            path.unlink()
            return response
        await upload.arrived(path, size, self._core.now())
        return response

    async def _get(self, request: Request) -> Response:
        expires, file = self._downloads.get(request.path_params["token"], (0.0, None))
        refusal = self._refusal(request, expires, "download_url_expired")
        if file is None or refusal is not None:
            return refusal or _xml(404, "NoSuchKey")
        if not await run_in_threadpool(file.path.exists):
            return _xml(404, "NoSuchKey")
        headers = {"Content-Length": str(file.size)}
        return StreamingResponse(
            file.pieces(), headers=headers, media_type="application/octet-stream"
        )

    def _refusal(self, request: Request, expires: float, fault: str) -> Response | None:
        if "authorization" in request.headers or "api_key" in request.query_params:
            # As the clouds do: one way to be let in is enough.
            self._core.meter.keys_sent_to_storage += 1
            return _xml(400, "InvalidArgument")
        if 0 < expires <= self._core.now() or self._core.strikes(fault, request.url.path):
            return _xml(403, "ExpiredToken")
        return None


def _xml(status_code: int, code: str) -> Response:
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code></Error>"
    return Response(text, status_code, media_type="application/xml")
