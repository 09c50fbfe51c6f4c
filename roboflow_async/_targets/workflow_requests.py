"""Which Workflow to run and how, and the request for it. Pure: no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from roboflow_async._engine.api.api_key import KeyPlacement
from roboflow_async._engine.api.requests import PreparedRequest, check_segment, json_request
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.errors import ConfigurationError

__all__ = ["WorkflowOptions", "describe_request", "workflow_request"]


@dataclass(frozen=True, slots=True)
class WorkflowOptions:
    """The name of a Workflow, or its specification, and how the server should run it."""

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

    def __post_init__(self) -> None:
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
        path = "/workflows/run"
    else:
        path = f"/{options.workspace_name}/workflows/{options.workflow_id}"
    if options.workflow_version_id is not None:
        fields["workflow_version_id"] = options.workflow_version_id
    body: JSONObject = {"inputs": inputs, **fields}
    return json_request(path, body, key, "the Workflow's inputs")


def describe_request(options: WorkflowOptions, key: KeyPlacement) -> PreparedRequest:
    """The request for a Workflow's inputs and outputs."""
    fields: JSONObject = {}
    if options.specification is not None:
        fields["specification"] = options.specification
        path = "/workflows/describe_interface"
    else:
        fields["use_cache"] = options.use_cache
        path = f"/{options.workspace_name}/workflows/{options.workflow_id}/describe_interface"
    if options.workflow_version_id is not None:
        fields["workflow_version_id"] = options.workflow_version_id
    if key.where == "query":
        # This path of the Inference Server 1.8.3 reads the key from anywhere but the query.
        key = KeyPlacement(key.api_key, "body")
    return json_request(path, fields, key, "the specification")
