"""Which Workflow to run and how, and the request for it. Pure: no I/O."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeGuard
from urllib.parse import unquote, urlsplit

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.regions import is_roboflow_host
from roboflow_async._engine.api.requests import PreparedRequest, check_segment, json_request
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.errors import ConfigurationError

__all__ = [
    "WorkflowOptions",
    "describe_request",
    "is_workflow_url",
    "names_in_url",
    "workflow_request",
]

_URL: Final = re.compile(r"https?://|app\.roboflow\.", re.IGNORECASE)
# The pages of the app for a Workflow, and the paths of the API to run it.
_PATHS: Final = (
    re.compile(
        r"/(?P<workspace>[^/]+)/workflows/(?:(?:edit|view|deploy)/)?(?P<id>[^/]+)(?:/edit)?"
    ),
    re.compile(r"/infer/workflows/(?P<workspace>[^/]+)/(?P<id>[^/]+)"),
)
_TEMPLATE: Final = "/{workspace_name}/workflows/{workflow_id}"
_FORM: Final = "https://app.roboflow.com/WORKSPACE/workflows/edit/ID"


def is_workflow_url(text: object) -> TypeGuard[str]:
    """Whether a text is meant as a URL, and not as the name of a workspace."""
    return isinstance(text, str) and _URL.match(text.strip()) is not None


def names_in_url(url: str) -> tuple[str, str]:
    """The workspace and the Workflow that a URL of the app, or of the API, names.

    Args:
        url: such as "https://app.roboflow.com/my-workspace/workflows/edit/my-workflow". What
            follows "?" or "#" does not count.

    Raises:
        ConfigurationError: it does not name a Workflow. The message has no query and no token.
    """
    text = url.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, path = parts.hostname or "", unquote(parts.path).rstrip("/")
    except ValueError:
        host, path = "", ""
    if is_roboflow_host(host):
        if re.match(r"/(?:[^/]+/)?workflows/embed/", path):
            raise ConfigurationError(
                "this URL is a link for sharing, which does not name a Workflow that can be run: "
                f"open yours in the editor, and give the URL from there: {_FORM}."
            )
        for form in _PATHS:
            found = form.fullmatch(path)
            if found is not None and found["id"] not in ("edit", "view", "deploy"):
                return found["workspace"], found["id"]
    raise ConfigurationError(
        f"{f'{host}{path}'!r:.120} is not the URL of a Workflow: give it as the app shows it: "
        f"{_FORM}, or give the two names."
    )


@dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """The name of a Workflow, or its specification, and how the server should run it.

    A URL of the app in place of one of the two names gives both.
    """

    workspace_name: str | None
    workflow_id: str | None
    specification: JSONObject | None
    workflow_version_id: str | None = None
    excluded_fields: tuple[str, ...] | None = None
    use_cache: bool = True
    disable_sinks: bool = False
    enable_profiling: bool = False

    @classmethod
    def checked(
        cls,
        workspace_name: str | None,
        workflow_id: str | None,
        specification: JSONObject | None,
        workflow_version_id: str | None,
        excluded_fields: Sequence[str] | None,
        *,
        use_cache: bool,
        disable_sinks: bool,
        enable_profiling: bool = False,
    ) -> "WorkflowOptions":
        """Make the options; a `ConfigurationError` says what is wrong with them."""
        if excluded_fields is not None and not (
            isinstance(excluded_fields, Sequence)  # pyright: ignore[reportUnnecessaryIsInstance]
            and not isinstance(excluded_fields, str)
            and all(isinstance(name, str) for name in excluded_fields)  # pyright: ignore[reportUnnecessaryIsInstance]
        ):
            raise ConfigurationError("excluded_fields must be a list of output names (strings).")
        if workflow_version_id is not None and not isinstance(workflow_version_id, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError("workflow_version_id must be a string.")
        return cls(
            workspace_name=workspace_name,
            workflow_id=workflow_id,
            specification=specification,
            workflow_version_id=workflow_version_id,
            excluded_fields=tuple(excluded_fields) if excluded_fields is not None else None,
            use_cache=use_cache,
            disable_sinks=disable_sinks,
            enable_profiling=enable_profiling,
        )

    @property
    def name(self) -> str:
        """`workspace/workflow`, or `inline` for a specification."""
        if self.specification is not None:
            return "inline"
        return f"{self.workspace_name}/{self.workflow_id}"

    def __post_init__(self) -> None:
        names = (self.workspace_name, self.workflow_id)
        url = next((name for name in names if is_workflow_url(name)), None)
        if url is not None and None in names:
            workspace_name, workflow_id = names_in_url(url)
            object.__setattr__(self, "workspace_name", workspace_name)
            object.__setattr__(self, "workflow_id", workflow_id)
        named = self.workspace_name is not None and self.workflow_id is not None
        half_named = (self.workspace_name is None) != (self.workflow_id is None)
        if half_named or named == (self.specification is not None):
            raise ConfigurationError(
                "a Workflow needs either workspace_name and workflow_id, or specification, "
                "and not both."
            )
        if self.specification is None:
            check_segment("workspace_name", self.workspace_name)
            check_segment("workflow_id", self.workflow_id)
        elif not isinstance(self.specification, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(
                f"specification is of type {type(self.specification).__name__}: give a dict, "
                "as the Workflow editor exports it."
            )


def workflow_request(
    options: WorkflowOptions, inputs: JSONObject, key: KeyPlacement
) -> PreparedRequest:
    """The request that runs a Workflow.

    Args:
        options: which Workflow, and how.
        inputs: its inputs by name; images are `EncodedImage` or `ImageURL`, batches are lists.
        key: the API key and its place.

    Raises:
        ConfigurationError: an input cannot be written as JSON.
    """
    fields: JSONObject = {"use_cache": options.use_cache}
    if options.enable_profiling:
        fields["enable_profiling"] = True
    if options.disable_sinks:
        fields["disable_sinks"] = True
    if options.excluded_fields is not None:
        fields["excluded_fields"] = list(options.excluded_fields)
    if options.specification is not None:
        fields["specification"] = options.specification
        path = template = "/workflows/run"
    else:
        path = f"/{options.workspace_name}/workflows/{options.workflow_id}"
        template = _TEMPLATE
    if options.workflow_version_id is not None:
        fields["workflow_version_id"] = options.workflow_version_id
    body: JSONObject = {"inputs": inputs, **fields}
    return json_request(path, body, key, "the Workflow's inputs", template=template)


def describe_request(options: WorkflowOptions, key: KeyPlacement) -> PreparedRequest:
    """The request for a Workflow's inputs and outputs."""
    fields: JSONObject = {}
    if options.specification is not None:
        fields["specification"] = options.specification
        path = template = "/workflows/describe_interface"
    else:
        fields["use_cache"] = options.use_cache
        path = f"/{options.workspace_name}/workflows/{options.workflow_id}/describe_interface"
        template = f"{_TEMPLATE}/describe_interface"
    if options.workflow_version_id is not None:
        fields["workflow_version_id"] = options.workflow_version_id
    if key.where == "query":
        # This path of the Inference Server 1.8.3 reads the key from anywhere but the query.
        key = KeyPlacement(key.api_key, "body")
    what = "the specification"
    return json_request(path, fields, key, what, template=template, is_free=True)
