"""`--model_config`: a YAML file with fields of inference_sdk's `InferenceConfiguration`."""

import importlib
from pathlib import Path
from typing import Any, Final

from roboflow_async import ConfigurationError
from roboflow_async._engine.checks import nearest
from roboflow_async._engine.jsonvalues import is_object, read_json_text
from roboflow_async.types.model_options import ModelOptions

__all__ = ["read_model_config"]

_LARGEST: Final = 1024 * 1024  # bytes
# What inference_sdk calls some of a model's options.
_OPTIONS: Final = {
    "confidence_threshold": "confidence",
    "keypoint_confidence_threshold": "keypoint_confidence",
    "stroke_width": "visualization_stroke_width",
    "visualize_labels": "visualization_labels",
    "disable_preproc_auto_orientation": "disable_preproc_auto_orient",
}
# What steers that client, and no request to a model. The last two are set by the benchmark.
_NO_EFFECT: Final = {
    "format", "output_visualisation_format", "image_extensions_for_directory_scan",
    "client_downsizing_disabled", "default_max_input_size", "max_concurrent_requests",
    "profiling_directory", "workflow_run_retries_enabled", "api_key_transport",
    "max_batch_size", "disable_active_learning",
}  # fmt: skip


def read_model_config(path: Path) -> tuple[dict[str, Any], list[str]]:
    """The options of a model in a file, and the names of the fields that have no effect.

    Raises:
        ConfigurationError: the file cannot be read, or has a field that is not known.
    """
    name = f"--model_config {str(path)!r:.200}"
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST + 1)
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}.") from None
    if len(text) > _LARGEST:
        raise ConfigurationError(f"{name} is larger than {_LARGEST} bytes: give the right file.")
    given = _parsed(text, name)
    if given is None:
        return {}, []
    if not is_object(given):
        raise ConfigurationError(f"{name} is no mapping: give lines such as confidence: 0.4.")
    options: dict[str, Any] = {}
    for key, value in given.items():
        field = str(key)  # in YAML a name may be a number
        option = _OPTIONS.get(field, field)
        if option in ModelOptions.__annotations__:
            options[option] = value
        elif field not in _NO_EFFECT:
            known = {*ModelOptions.__annotations__, *_OPTIONS, *_NO_EFFECT}
            near = nearest(field, known)
            meant = f": did you mean {near!r}?" if near else "."
            raise ConfigurationError(f"{name} has a field {field!r:.80} that is not known{meant}")
    return options, sorted(_NO_EFFECT & given.keys())


def _parsed(text: bytes, name: str) -> Any:
    try:
        return read_json_text(text)  # JSON is YAML, too, and needs no library
    except (ValueError, RecursionError):
        pass
    try:
        yaml: Any = importlib.import_module("yaml")
    except ImportError:
        raise ConfigurationError(
            f"{name} needs PyYAML, unless it is JSON: pip install pyyaml."
        ) from None
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigurationError(f"{name} is not YAML.") from None
