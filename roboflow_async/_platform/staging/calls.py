"""The calls to Data Staging.

The requests follow Roboflow's command line (`inference_cli` 1.8.3) and the documents that Roboflow
has published. These differ in details, so the parsing is tolerant.
"""

import re
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Final, Literal, TypeVar

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import (
    PreparedRequest,
    check_segment,
    get_request,
    json_request,
)
from roboflow_async._engine.api.responses import Response, parse_json
from roboflow_async._engine.checks import shown
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async._platform.paging import paged
from roboflow_async._platform.service import PlatformService
from roboflow_async._platform.staging.responses import (
    ListedFile,
    Part,
    Shard,
    parse_count,
    parse_files,
    parse_parts,
    parse_shards,
    parse_signed_url,
)
from roboflow_async._platform.staging.storage import SignedURL
from roboflow_async.errors import ConfigurationError, NotFoundError

__all__ = ["MAX_IMAGE_BYTES", "Media", "StagingCalls", "check_batch_id"]

Output = TypeVar("Output")

Media = Literal["images", "videos"]

MAX_IMAGE_BYTES: Final = 20_971_520

_BATCH_ID: Final = re.compile(r"[a-z0-9_-]{1,64}")
_PAGE: Final = 1000  # more than one asks for in the app, and a small response


def check_batch_id(batch_id: object) -> None:
    """Raise `ConfigurationError` unless the platform takes it as the id of a batch."""
    if not isinstance(batch_id, str) or not _BATCH_ID.fullmatch(batch_id):
        raise ConfigurationError(
            f"batch_id={shown(batch_id)} is not valid: give 1 to 64 of a-z, 0-9, '-' and '_'."
        )


class StagingCalls:
    """The calls about one batch.

    Args:
        service: sends them.
        workspace: the workspace of the key.
        batch_id: the batch.
        display_name: the name for people; default: the id.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self,
        service: PlatformService,
        workspace: str,
        batch_id: str,
        *,
        display_name: str | None = None,
    ) -> None:
        check_segment("workspace", workspace)
        check_batch_id(batch_id)
        self._service = service
        self._path = f"/data-staging/v1/external/{workspace}/batches/{batch_id}"
        self._display_name = display_name or batch_id
        self.batch_id = batch_id

    async def upload_image(self, name: str, content: bytes) -> None:
        """Upload one image. Once more replaces it."""
        boundary = f"roboflow-async-{secrets.token_hex(16)}"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = (head.encode(), content, f"\r\n--{boundary}--\r\n".encode())
        query = {"fileName": name, "displayName": self._display_name}

        def build(key: KeyPlacement) -> PreparedRequest:
            return PreparedRequest(
                f"{self._path}/upload/image{key.query(query, json_body=False)}",
                body,
                content_type=f"multipart/form-data; boundary={boundary}".encode(),
            )

        # What comes back is nowhere described.
        await self._service.call(build, lambda _: None)

    async def shard_url(self) -> SignedURL:
        """A new signed URL for an archive of images."""
        return await self._post("/bulk-upload/image-files", {}, {}, parse_signed_url)

    async def video_url(self, name: str) -> SignedURL:
        """A new signed URL for a video."""
        return await self._post("/upload/video", {"fileName": name}, {}, parse_signed_url)

    async def add_references(
        self, media: Media, references: Sequence[tuple[str, str]], ingest_id: str
    ) -> None:
        """Let the platform fetch files.

        Args:
            media: what they are.
            references: the name and the URL of each, at most 20,000.
            ingest_id: an id for this request; with the same one it is not done again.
        """
        listed = [{"name": name, "url": url} for name, url in references]
        fields = {f"{media[:-1]}References": listed, "ingestId": ingest_id}
        await self._post(f"/bulk-upload/{media[:-1]}-references", {}, fields, lambda _: None)

    async def count(self) -> int:
        """How many files are registered."""
        return await self._get("/count", {}, parse_count)

    async def shards(self) -> list[Shard]:
        """All archives that have come."""
        found = paged(partial(self._get, "/shards"), "shards", parse_shards, _PAGE)
        return [shard async for page in found for shard in page]

    async def names(self) -> set[str]:
        """The names of all files that are registered."""
        return {file.name async for page in self.files() for file in page}

    def files(self, part: str | None = None) -> AsyncGenerator[list[ListedFile]]:
        """The files of the batch, or of one part of it, page by page."""
        query = {} if part is None else {"partName": part}
        return paged(partial(self._get, "/list"), "filesMetadata", parse_files, _PAGE, query)

    async def parts(self) -> list[Part]:
        """The parts of a batch that a job made."""
        return await self._get("/parts", {}, parse_parts)

    async def exists(self) -> bool:
        """Whether there is such a batch."""
        try:
            await self._get("", {}, parse_json)
        except NotFoundError:
            return False
        return True

    async def _post(
        self,
        path: str,
        query: dict[str, str],
        fields: JSONObject,
        parse: Callable[[Response], Output],
    ) -> Output:
        query = {**query, "displayName": self._display_name}

        def build(key: KeyPlacement) -> PreparedRequest:
            return json_request(self._path + path, fields, key, "the fields", query)

        return await self._service.call(build, parse)

    async def _get(
        self, path: str, query: dict[str, str], parse: Callable[[Response], Output]
    ) -> Output:
        def build(key: KeyPlacement) -> PreparedRequest:
            return get_request(self._path + path, key, query)

        return await self._service.call(build, parse)
