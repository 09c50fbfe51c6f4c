"""Parses responses of Data Staging."""

import re
from typing import Any, Final, Literal

import httpx
import pydantic

from roboflow_async._engine.api.responses import Response, parse_json, unexpected
from roboflow_async._engine.api.validation import validated_response
from roboflow_async._engine.jsonvalues import is_object
from roboflow_async._platform.staging.storage import SignedURL
from roboflow_async.types.base import PlainText, ServerModel

__all__ = [
    "ListedFile",
    "Part",
    "Shard",
    "parse_count",
    "parse_files",
    "parse_parts",
    "parse_shards",
    "parse_signed_url",
]


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


def parse_count(response: Response) -> int:
    """How many files there are."""
    body: object = parse_json(response)
    count = body.get("count") if is_object(body) else None
    if not isinstance(count, int):
        raise unexpected(response, "it has no count")
    return count


def parse_parts(response: Response) -> list[Part]:
    """The parts of a batch."""
    body: object = parse_json(response)
    items = body.get("batchParts") if is_object(body) else None
    return validated_response(items, _PARTS, response, "a list of parts")


def parse_shards(items: list[Any], response: Response) -> list[Shard]:
    """A page of archives."""
    return validated_response(items, _SHARDS, response, "a list of shards")


def parse_files(items: list[Any], response: Response) -> list[ListedFile]:
    """A page of files."""
    return validated_response(items, _FILES, response, "a list of files")


def parse_signed_url(response: Response) -> SignedURL:
    """Where to send a file."""
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
