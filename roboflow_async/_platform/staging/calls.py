"""The calls to Data Staging.

The requests follow Roboflow's command line (`inference_cli` 1.8.3) and the documents that Roboflow
has published. These differ in details, so the parsing is tolerant.
"""

import re
import secrets
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeVar

import httpx
import pydantic

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import (
    PreparedRequest,
    check_segment,
    get_request,
    json_request,
)
from roboflow_async._engine.api.responses import Response, parse_json, unexpected
from roboflow_async._engine.api.validation import validated_response
from roboflow_async._engine.checks import shown
from roboflow_async._engine.jsonvalues import JSONObject, is_object
from roboflow_async._platform.paging import paged
from roboflow_async._platform.service import PlatformService
from roboflow_async._platform.staging.storage import SignedURL
from roboflow_async.errors import ConfigurationError, NotFoundError
from roboflow_async.types.base import PlainText, ServerModel

__all__ = [
    "MAX_IMAGE_BYTES",
    "ListedFile",
    "Media",
    "Part",
    "Shard",
    "StagingCalls",
    "check_batch_id",
]

Output = TypeVar("Output")

Media = Literal["images", "videos"]

MAX_IMAGE_BYTES: Final = 20_971_520

_BATCH_ID: Final = re.compile(r"[a-z0-9_-]{1,64}")
_PAGE: Final = 1000  # more than one asks for in the app, and a small response


class Shard(ServerModel):
    """Files that came together, and how their registration goes.

    Attributes:
        shard_id: its id.
        status_type: "info" while it is registered; then it contains "success" or "error".
        status_name: what the platform calls it.
        count: files that are registered.
    """

    shard_id: PlainText = pydantic.Field(alias="shardId")
    status_type: PlainText = pydantic.Field(alias="statusType")
    status_name: PlainText | None = pydantic.Field(default=None, alias="statusName")
    count: int = pydantic.Field(default=0, alias="shardObjectsCount")

    @property
    def is_pending(self) -> bool:
        """Whether it is not registered yet."""
        return not re.search("success|error", self.status_type, re.IGNORECASE)

    @property
    def has_failed(self) -> bool:
        """Whether it could not be registered."""
        return "error" in self.status_type.lower()


class Part(ServerModel):
    """A part of a batch that a job made.

    Attributes:
        name: its name.
        content_type: images, videos, metadata, archives or mixed.
        nested_content_type: what its archives hold.
    """

    name: str = pydantic.Field(alias="partName")
    content_type: PlainText | None = pydantic.Field(default=None, alias="contentType")
    nested_content_type: PlainText | None = pydantic.Field(default=None, alias="nestedContentType")


class ListedFile(ServerModel):
    """A file of a batch.

    Attributes:
        name: what the platform calls it. It decides no path.
        url: where it may be downloaded from, for a while. Whoever has it may read the file.
        part: the part that it belongs to.
        shard_id: the archive that it came in.
        content_type: images, videos, metadata or archives.
        nested_content_type: what an archive holds.
    """

    name: str = pydantic.Field(alias="fileName")
    url: str = pydantic.Field(default="", alias="downloadURL", repr=False)
    part: str | None = pydantic.Field(default=None, alias="partName")
    shard_id: str | None = pydantic.Field(default=None, alias="shardId")
    content_type: PlainText | None = pydantic.Field(default=None, alias="contentType")
    nested_content_type: PlainText | None = pydantic.Field(default=None, alias="nestedContentType")

    @property
    def identity(self) -> tuple[str | None, str | None, str]:
        """What tells it from all others of its batch."""
        return self.part, self.shard_id, self.name


_DEFERRED: Final = pydantic.ConfigDict(defer_build=True)
_FILES: Final = pydantic.TypeAdapter(list[ListedFile], config=_DEFERRED)
_PARTS: Final = pydantic.TypeAdapter(list[Part], config=_DEFERRED)
_SHARDS: Final = pydantic.TypeAdapter(list[Shard], config=_DEFERRED)


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
        return await self._post("/bulk-upload/image-files", {}, {}, _signed_url)

    async def video_url(self, name: str) -> SignedURL:
        """A new signed URL for a video."""
        return await self._post("/upload/video", {"fileName": name}, {}, _signed_url)

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

        def parse(response: Response) -> int:
            body: object = parse_json(response)
            count = body.get("count") if is_object(body) else None
            if not isinstance(count, int):
                raise unexpected(response, "it has no count")
            return count

        return await self._get("/count", {}, parse)

    async def shards(self) -> list[Shard]:
        """All archives that have come."""

        def parse(items: list[Any], response: Response) -> list[Shard]:
            return validated_response(items, _SHARDS, response, "a list of shards")

        found = paged(partial(self._get, "/shards"), "shards", parse, _PAGE)
        return [shard async for page in found for shard in page]

    async def names(self) -> set[str]:
        """The names of all files that are registered."""
        return {file.name async for page in self.files() for file in page}

    def files(self, part: str | None = None) -> AsyncGenerator[list[ListedFile]]:
        """The files of the batch, or of one part of it, page by page."""
        query = {} if part is None else {"partName": part}

        def parse(items: list[Any], response: Response) -> list[ListedFile]:
            return validated_response(items, _FILES, response, "a list of files")

        return paged(partial(self._get, "/list"), "filesMetadata", parse, _PAGE, query)

    async def parts(self) -> list[Part]:
        """The parts of a batch that a job made."""

        def parse(response: Response) -> list[Part]:
            body: object = parse_json(response)
            items = body.get("batchParts") if is_object(body) else None
            return validated_response(items, _PARTS, response, "a list of parts")

        return await self._get("/parts", {}, parse)

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


def _signed_url(response: Response) -> SignedURL:
    body: object = parse_json(response)
    details = body.get("signedURLDetails") if is_object(body) else None
    url = details.get("uploadURL") if is_object(details) else None
    headers = details.get("extensionHeaders") if is_object(details) else None
    if not is_object(details) or not isinstance(url, str):
        raise unexpected(response, "it has no signed URL")
    try:
        host = httpx.URL(url).host
    except (httpx.InvalidURL, ValueError):
        host = ""
    pairs = list(headers.items()) if is_object(headers) else []
    if not host or not all(_is_header(name, value) for name, value in pairs):
        raise unexpected(response, "its signed URL or its headers are not valid")
    method: Literal["PUT", "POST"] = "POST" if details.get("method") == "POST" else "PUT"
    most = details.get("maxFileSize")
    return SignedURL(
        url,
        method,
        tuple((name.encode(), str(value).encode()) for name, value in pairs),
        most if isinstance(most, int) and most > 0 else None,
    )


def _is_header(name: str, value: object) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9-]{1,100}", name)) and bool(
        re.fullmatch(r"[\x20-\x7e]{0,2000}", str(value))
    )
