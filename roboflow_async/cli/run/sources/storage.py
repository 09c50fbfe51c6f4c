"""What may be given of an object storage: one object, by its whole name."""

from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async.cli.run.file_names import is_stored

__all__ = ["check_object"]

_LISTING: Final = {"s3": "aws s3 ls --recursive", "gs": "gcloud storage ls --recursive"}


def check_object(text: str) -> None:
    """Check that the name of a source is not that of a bucket or folder, nor a glob.

    Buckets are not searched: one may hold millions, each list of names is billed, and what is an
    image is known from its content alone. A "?" and a "[" may be part of a key, as may a "*", which
    a list can name.

    Raises:
        ConfigurationError: it is.
    """
    scheme, _, name = text.partition("://")
    bucket, _, key = name.partition("/")
    if not is_stored(text) or (key and not key.endswith("/") and "*" not in key):
        return
    kind = "gs" if scheme.lower() in ("gs", "gcs") else "s3"
    tool = "az storage blob list" if scheme.lower().startswith(("az", "abfs")) else _LISTING[kind]
    raise ConfigurationError(
        f"{text!r:.200} is not one object, and storages are not searched: give the names of its "
        f"objects ({scheme}://{bucket[:100] or 'BUCKET'}/...), one in each line of a file or, with "
        f"'-', of stdin. {tool} lists them."
    )
