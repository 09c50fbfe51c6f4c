"""What may be given as a video, and how PyAV opens it."""

import io
import os
import re
import ssl
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from inspect import iscoroutinefunction
from os import PathLike
from typing import Any, Final, Literal, Protocol, cast, runtime_checkable
from urllib.parse import parse_qsl, urlsplit

import httpx

from roboflow_async._engine.checks import shown
from roboflow_async.errors import ConfigurationError, plain_text

__all__ = ["Source", "VideoSource", "source_of"]


@runtime_checkable
class SupportsRead(Protocol):
    """A binary file object."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to so many bytes."""
        ...


VideoSource = str | PathLike[str] | int | bytes | bytearray | memoryview | SupportsRead | httpx.URL
"""What may be given as a video; see `frames`."""

_FILE_SCHEMES: Final = frozenset({"http", "https"})
_LIVE_SCHEMES: Final = frozenset(
    {"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp", "mmsh", "mmst"}
)
# One letter and a colon is a drive of Windows.
_URL: Final = re.compile(r"([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
_DEVICE: Final = re.compile(r"/dev/video\d+|video=.+|avfoundation:.+")
_LONGEST_NAME: Final = 300  # characters
_OPEN_TIMEOUT: Final = 10.0  # seconds
_READ_TIMEOUT: Final = 30.0  # seconds, of a file behind a URL

# A live source should give its first picture soon. By default FFmpeg looks at the first five
# seconds before it gives any. ("fflags": "nobuffer" would throw away what it has looked at, and the
# first keyframe with it, so that all waits for the next one.)
_LIVE_OPTIONS: Final = {
    "analyzeduration": "1000000",  # microseconds
    "probesize": "500000",  # bytes
}


@dataclass(frozen=True)
class Source:
    """A video, and how it is opened.

    Attributes:
        name: what people call it: no passwords, no tokens.
        kind: where it is.
        is_live: whether it is a camera, by its kind or scheme.
        address: what PyAV opens; None: the data.
        data: bytes, or a file object.
        format: the name of FFmpeg's format; None: FFmpeg looks at the content.
        options: FFmpeg's.
    """

    name: str
    kind: Literal["path", "url", "device", "bytes", "file object"]
    is_live: bool = False
    address: str | None = None
    data: Any = field(default=None, repr=False)
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def path(self) -> str | None:
        """The path of the file, if it is one."""
        if self.kind != "path" or self.address is None:
            return None
        return self.address.removeprefix("file:")

    def open(self, av: Any, *, live: bool, stall: float | None) -> Any:
        """Open it. It blocks.

        Args:
            av: PyAV.
            live: whether it is read as a camera is.
            stall: seconds without any data after which it counts as gone; None: as long as the kind
                of the source allows.
        """
        options = {**(_LIVE_OPTIONS if live and self.kind == "url" else {}), **self.options}
        what: Any = self.address
        if self.kind == "bytes":
            what = io.BytesIO(self.data)
        elif self.kind == "file object":
            what = self.data
        timeout: tuple[float, float] | None = None
        if live or self.kind == "url":
            timeout = (_OPEN_TIMEOUT, stall or _READ_TIMEOUT)
        return av.open(what, format=self.format, options=options, timeout=timeout)


def source_of(value: object) -> Source:
    """Look at what was given, and open nothing.

    Raises:
        ConfigurationError: it cannot be a video.
    """
    if isinstance(value, bool) or value is None:
        raise _refused(value)
    if isinstance(value, int):
        return _device_by_number(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _data(bytes(cast("bytes", value)))
    if isinstance(value, httpx.URL):
        value = str(value)
    if isinstance(value, (str, PathLike)):
        text = os.fspath(cast("str | PathLike[str]", value))
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] - of bytes
            raise _refused(text)
        return _named(text)
    read: Any = getattr(value, "read", None)
    if not callable(read):
        raise _refused(value)
    kind = type(value).__name__
    if iscoroutinefunction(read):
        raise ConfigurationError(
            f"source is of type {kind}, whose read() is async: give a plain file object, a path, "
            "or the bytes of await file.read()."
        )
    if isinstance(value, io.TextIOBase):
        raise ConfigurationError(f"source is a text file of type {kind}: open it with mode 'rb'.")
    name: object = getattr(value, "name", None)
    shown_name = name if isinstance(name, str) and name else f"a {kind}"
    return Source(_plain(shown_name), "file object", data=value, options=_NOTHING_ELSE)


# What is in the data must not name other files to be read, as playlists do.
_NOTHING_ELSE: Final = {"protocol_whitelist": "data"}


def _refused(value: object) -> ConfigurationError:
    return ConfigurationError(
        f"source={shown(value)} is not a video: give a path, a URL (http, https, rtsp, ...), the "
        "number of a camera, bytes or a binary file object."
    )


def _data(data: bytes) -> Source:
    if not data:
        raise ConfigurationError("source is empty: give the bytes of a video file.")
    return Source(f"{len(data):,} bytes", "bytes", data=data, options=_NOTHING_ELSE)


def _named(text: str) -> Source:
    if not text.strip() or "\0" in text:
        raise ConfigurationError(
            f"source={shown(text)} is not a path: give the path of a video, or a URL."
        )
    if _DEVICE.fullmatch(text):
        return _device(text)
    found = _URL.match(text)
    if found is None:
        # Without "file:", FFmpeg would take "a:b.mp4" for a URL.
        return Source(_plain(text), "path", address=f"file:{text}")
    scheme = found[1].lower()
    if scheme == "file":
        return Source(_plain(text[7:]), "path", address=f"file:{text[7:]}")
    if scheme not in _FILE_SCHEMES | _LIVE_SCHEMES:
        raise ConfigurationError(
            f"source={shown(_without_secrets(text))} has the scheme {scheme}://, which is not "
            "known: give http, https, rtsp, rtsps, rtmp, srt, tcp or udp, or for a file in object "
            "storage an open file of fsspec."
        )
    options: dict[str, str] = {}
    if scheme.startswith("rtsp"):
        # UDP loses packets in silence, and many a firewall lets none through.
        options["rtsp_transport"] = "tcp"
    if scheme == "https":
        # FFmpeg trusts every certificate, unless it is told not to.
        options |= {"tls_verify": "1", "ca_file": _trusted()}
    return Source(
        _plain(_without_secrets(text)),
        "url",
        is_live=scheme in _LIVE_SCHEMES,
        address=text,
        options=options,
    )


def _trusted() -> str:
    if found := ssl.get_default_verify_paths().cafile:  # None, if there is no such file
        return found
    import certifi  # noqa: PLC0415 - httpx brings it; few systems have no certificates

    return certifi.where()


def _device_by_number(number: int) -> Source:
    if number < 0:
        raise ConfigurationError(f"source={number} is not the number of a camera: give 0 or more.")
    if sys.platform == "linux":
        return _device(f"/dev/video{number}")
    if sys.platform == "darwin":
        return _device(f"avfoundation:{number}")
    raise ConfigurationError(
        f"source={number}: on Windows a camera has a name: give 'video=NAME', as `ffmpeg "
        "-list_devices true -f dshow -i dummy` shows it."
    )


def _device(text: str) -> Source:
    if text.startswith("/dev/"):
        kind, address = "v4l2", text
    elif text.startswith("video="):
        kind, address = "dshow", text
    else:
        kind, address = "avfoundation", text.removeprefix("avfoundation:")
    return Source(_plain(text), "device", is_live=True, address=address, format=kind)


def _without_secrets(url: str) -> str:
    """The URL without its login, and without what may be a token in its query."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        return f"{url.partition('://')[0]}://..."
    # Cameras tell their channels apart by small numbers, which are no secrets.
    told = [
        f"{name}={value if re.fullmatch('[0-9]{1,3}', value) else '...'}" for name, value in query
    ]
    return f"{parts.scheme}://{host}{parts.path}{'?' if told else ''}{'&'.join(told)}"


def _plain(name: str) -> str:
    return plain_text(name)[:_LONGEST_NAME]
