"""Image outputs as files (`--save-images`)."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from roboflow_async import RoboflowError, decode_image
from roboflow_async.cli.sources import is_url
from roboflow_async.jsontypes import is_array, is_object

__all__ = ["save_pictures"]

# Shorter texts are no pictures.
_LEAST = 100
_SUFFIXES = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"GI": ".gif", b"RI": ".webp"}


def save_pictures(output: Any, item: str, folder: Path, name: str = "") -> Any:
    """Write the pictures of an output to files; return it with their paths in their place.

    Args:
        output: JSON.
        item: the image's path or URL: its pictures go to the same path below the folder.
        folder: of all pictures.
        name: of the output, in the file's name.
    """
    if is_object(output):
        return {
            key: save_pictures(value, item, folder, f"{name}.{key}" if name else str(key))
            for key, value in output.items()
        }
    if is_array(output):
        return [
            save_pictures(value, item, folder, f"{name}.{index}")
            for index, value in enumerate(output)
        ]
    picture = _picture(output)
    if picture is None:
        return output
    path = folder / _below(item, name + _SUFFIXES[picture[:2]])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture)
    return str(path)


def _picture(value: Any) -> bytes | None:
    if not isinstance(value, str) or len(value) < _LEAST:
        return None
    try:
        data = decode_image(value)
    except RoboflowError:
        return None
    return data if data[:2] in _SUFFIXES else None


def _below(item: str, ending: str) -> Path:
    """A relative path that no other image has, and that leads out of no folder."""
    text = item
    if is_url(item):
        url = urlsplit(item)
        text = f"{url.netloc}{url.path}" + (f"?{url.query}" if url.query else "")
    parts = [
        re.sub(r"[^\w.()+=@ -]", "_", part)
        for part in re.split(r"[\\/]", text)
        if part not in ("", ".")
    ]
    parts = ["_up" if part == ".." else part for part in parts]
    return Path(*parts[:-1], f"{parts[-1]}.{ending}")
