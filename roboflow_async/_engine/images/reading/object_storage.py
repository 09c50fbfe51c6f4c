"""Reads images from object storage (`s3://`, `gs://`, `az://`) with fsspec (extra `fsspec`).

fsspec knows many file systems. Those of clouds work on an event loop of its own, in a thread of its
own, so that a read is cancelled there and needs no thread of ours. The others are read in a thread.

What is read by name is checked before: a string of a stranger must not reach a bucket.
"""

import asyncio
import copy
import errno
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol, TypeGuard, cast

import anyio
import anyio.to_thread

from roboflow_async._engine.images.reading.file_objects import is_bytes_like, lacks_descriptors
from roboflow_async._engine.images.url_policy import AllowURLs
from roboflow_async.errors import ConfigurationError, ImageError

__all__ = ["STORAGE_FAILED", "ObjectStorage", "StoredFile", "hint_at_storage", "is_stored"]

STORAGE_FAILED: Final = "The storage has failed"
"""What errors say that may be gone at another time."""

# What a string may begin with: other file systems of fsspec can do more than read an object (open a
# file here, ask any host, write a cache), so they are named in code, with fsspec.open.
_PACKAGES: Final = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss"), "adlfs"),
}
_URL: Final = re.compile(rf"({'|'.join(_PACKAGES)})://", re.IGNORECASE | re.ASCII)
# pathlib makes one slash from two.
_URL_AS_PATH: Final = re.compile(rf"({'|'.join(_PACKAGES)}|https?):/[^/]", re.IGNORECASE | re.ASCII)
_ANY_URL: Final = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE | re.ASCII)

_THREADS: Final = 16  # for file systems that have no event loop; they wait more than they work
_PIECE: Final = 256 * 1024  # bytes

# What another attempt does not change. ValueError: of an impossible name.
_FINAL: Final = (
    *(FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError),
    *(ValueError, TypeError, LookupError, AttributeError, NotImplementedError),
)
# s3fs gives most errors of S3 that are final one of the first three.
_FINAL_ERRNOS: Final = frozenset(
    {errno.EINVAL, errno.EPERM, errno.ENOSYS, errno.ENAMETOOLONG, errno.ENOENT, errno.EACCES}
    | ({errno.EREMCHG} if hasattr(errno, "EREMCHG") else set())
)
_LATER: Final = frozenset({408, 425, 429})  # HTTP statuses below 500 that ask to come again
# NoCredentialsError, RefreshError, ParamValidationError, … of the clouds' own packages, which are
# not imported here. Nobody waits for a file of credentials.
_FINAL_NAMES: Final = re.compile("Credential|Auth|Token|Refresh|Profile|Validation")
_SIGNATURES: Final = re.compile(r"(?<=[^\s'\"<>]\?)[^\s'\"<>]+")
_USERS: Final = re.compile(r"(?<=://)[^\s/@'\"]+(?=@)")
_SHORTEST_SECRET: Final = 4  # characters; anything shorter is a flag or a number
_DEEPEST: Final = 4  # options within options


class StoredFile(Protocol):
    """A file of fsspec that is not open: what `fsspec.open` returns, or a `UPath`."""

    @property
    def fs(self) -> Any:
        """The file system."""
        ...

    @property
    def path(self) -> str:
        """The path there."""
        ...


def is_stored(value: object) -> TypeGuard[str | StoredFile]:
    """Whether it names a file that fsspec reads: a string, or a file that is not open."""
    if isinstance(value, str):
        return _URL.match(value) is not None
    try:
        return (
            hasattr(value, "path")
            and hasattr(getattr(value, "fs", None), "cat_file")
            and not hasattr(value, "read")
        )
    except Exception:  # noqa: BLE001 - an object whose attributes cannot be looked at
        return False


def hint_at_storage(path: str) -> str:
    """What else to try for a path that does not exist, or nothing."""
    if _URL_AS_PATH.match(path):
        return " A Path cannot hold a URL: give it as a str."
    if _ANY_URL.match(path):
        return (
            " Of URLs, https://, s3://, gs:// and az:// can be strings: for another file system "
            "give fsspec.open(...)."
        )
    return ""


class ObjectStorage:
    """Reads files with fsspec, within bounds of bytes and time, and again if that may help.

    Args:
        allow_paths: whether anything is read by its name.
        allow_urls: anything but True refuses all of it, too: where a name leads to is not known.
        timeout: seconds for one attempt to read a file.
        retry_wait: gives the seconds until the next attempt, from how many have failed; None: no
            more.
        free_descriptors: closes idle connections. Called when no other can be opened.
    """

    def __init__(
        self,
        *,
        allow_paths: bool,
        allow_urls: AllowURLs,
        timeout: float,
        retry_wait: Callable[[int], float | None],
        free_descriptors: Callable[[], None],
    ) -> None:
        self._allow_paths = allow_paths
        self._allow_urls: AllowURLs = allow_urls
        self._timeout = timeout
        self._retry_wait = retry_wait
        self._free_descriptors = free_descriptors
        self._threads = anyio.CapacityLimiter(_THREADS)

    async def read(self, value: str | StoredFile, most: int) -> tuple[bytes, str]:
        """The content of a file, up to one byte more than is allowed, and its name for errors.

        Args:
            value: the file.
            most: the number of bytes that are allowed.

        Raises:
            ImageError: it is refused, it is not there, or it could not be read in time.
            ConfigurationError: a package is missing.
        """
        self._check()
        name, failures = _name_of(value), 0
        while True:
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._read(value, most), name
            except ConfigurationError:
                raise
            except Exception as error:  # noqa: BLE001 - each file system has errors of its own
                reason = self._reason(error, value)
                may_pass = _may_pass(error)
                if lacks_descriptors(error):
                    self._free_descriptors()
                if _is_empty(error):
                    return b"", name
            failures += 1
            wait = self._retry_wait(failures) if may_pass else None
            if wait is None:
                tried = f" {STORAGE_FAILED} in {failures} attempts." if may_pass else ""
                raise ImageError(f"{name} cannot be read: {reason}.{tried}")
            await asyncio.sleep(wait)

    def _check(self) -> None:
        for allowed, knob in ((self._allow_paths, "paths"), (self._allow_urls is True, "urls")):
            if not allowed:
                setting = self._allow_urls if knob == "urls" else False
                raise ImageError(
                    "an image was given by its name in a storage, and this client has "
                    f"allow_{knob}={setting!r}: give the image's bytes."
                )

    async def _read(self, value: str | StoredFile, most: int) -> bytes:
        if isinstance(value, str):
            # The first time, a package is imported, and some look for credentials.
            fs, path = await self._in_thread(_resolved, value)
        else:
            fs, path = value.fs, value.path
            if getattr(value, "compression", None) is not None:
                return await self._in_thread(_decompressed, value, most)
        if not getattr(fs, "async_impl", False):
            read = partial(fs.cat_file, path, start=0, end=most + 1)
            return _checked(await self._in_thread(read))
        # A range, so that a storage sends no more than is allowed. The web's servers may ignore it.
        if _is_web(fs):
            reading = _streamed(fs, path, most)
        else:  # what `cat_file` waits for
            reading = fs._cat_file(path, start=0, end=most + 1)  # noqa: SLF001
        if fs.loop is None:  # made with asynchronous=True, for this loop
            return _checked(await reading)
        return _checked(
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(reading, fs.loop))
        )

    async def _in_thread(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(
            function, *arguments, limiter=self._threads, abandon_on_cancel=True
        )

    def _reason(self, error: Exception, value: str | StoredFile) -> str:
        if isinstance(error, TimeoutError) and not str(error):
            return f"it was not read within {self._timeout:g} s (timeout=)"
        text = getattr(error, "strerror", None) or str(error)
        status, kind = _status_of(error), type(error).__name__
        if status is not None and str(status) not in text:
            text = f"HTTP {status} {text}"
        text = _without_secrets(text.strip(), _secrets_of(value))[:300].rstrip(" .")
        return f"{kind}: {text}" if text else kind


def _resolved(url: str) -> tuple[Any, str]:
    scheme = url.partition(":")[0].lower()
    url = scheme + url[len(scheme) :]
    needed = f"{scheme}:// needs packages: pip install 'roboflow-async[fsspec]' {_PACKAGES[scheme]}"
    try:
        fsspec: Any = importlib.import_module("fsspec")
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError:
        raise ConfigurationError(f"{needed}.") from None
    # Not `url_to_fs`, which takes "::" in a name for several file systems in a chain.
    options = kind._get_kwargs_from_urls(url)  # noqa: SLF001 - for those who are asked by a URL
    return fsspec.filesystem(scheme, **options), kind._strip_protocol(url)  # noqa: SLF001


def _decompressed(file: Any, most: int) -> bytes:
    with copy.copy(file) as opened:  # it keeps what it opens, and two calls may have the same
        return _checked(opened.read(most + 1))


async def _streamed(fs: Any, path: str, most: int) -> bytes:
    # A size, so that the server is not asked for it first.
    file = await fs.open_async(path, size=most)
    pieces: list[bytes] = []
    left = most + 1
    try:
        while left > 0 and (piece := await file.read(min(left, _PIECE))):
            pieces.append(piece)
            left -= len(piece)
    finally:
        await file.close()
    return b"".join(pieces)


def _is_web(fs: Any) -> bool:
    protocols = fs.protocol
    return "https" in (protocols if isinstance(protocols, (tuple, list)) else (protocols,))


def _checked(content: object) -> bytes:
    if not is_bytes_like(content):
        raise TypeError(f"the file gave {type(content).__name__} instead of bytes")
    return bytes(content)


def _status_of(error: Exception) -> int | None:
    """The HTTP status in an error of aiohttp, Azure or gcsfs."""
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed; what is not known may."""
    if (status := _status_of(error)) is not None:
        return status in _LATER or status >= 500
    if isinstance(error, _FINAL) or _FINAL_NAMES.search(type(error).__name__):
        return False
    return not (isinstance(error, OSError) and error.errno in _FINAL_ERRNOS)


def _is_empty(error: Exception) -> bool:
    """Whether a storage refused a range because there is nothing: not even a first byte."""
    return isinstance(error, OSError) and "range is not satisfiable" in str(error).lower()


def _full_name(value: str | StoredFile) -> str:
    if isinstance(value, str):
        return value
    try:
        return str(value.fs.unstrip_protocol(value.path))
    except Exception:  # noqa: BLE001 - of somebody else's file system
        return str(value.path)


def _name_of(value: str | StoredFile) -> str:
    return repr(_without_secrets(_full_name(value), ())[:200])


def _without_secrets(text: str, secrets: Iterable[str]) -> str:
    """The text without these, and without signatures and passwords in URLs."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return _USERS.sub("…", _SIGNATURES.sub("…", text))


def _secrets_of(value: str | StoredFile) -> Iterator[str]:
    """What may be secret in a name and in the options of a file system."""
    name = _full_name(value)
    for part in (_USERS, _SIGNATURES):
        yield from part.findall(name)
    if not isinstance(value, str):
        yield from _texts_in(getattr(value.fs, "storage_options", None))


def _texts_in(options: object, depth: int = 0) -> Iterator[str]:
    if isinstance(options, str):
        # An endpoint is not secret, and says who does not respond.
        if len(options) >= _SHORTEST_SECRET and "://" not in options:
            yield options
    elif isinstance(options, Mapping) and depth < _DEEPEST:
        for one in cast("Mapping[object, object]", options).values():
            yield from _texts_in(one, depth + 1)
