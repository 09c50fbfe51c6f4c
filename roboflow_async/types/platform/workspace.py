"""What a workspace holds, as the platform API gives it."""

from pydantic import AliasChoices, Field

from roboflow_async.types.base import PlainText, ServerModel

__all__ = ["Preflight", "WorkspaceModel", "WorkspaceWorkflow"]


class WorkspaceWorkflow(ServerModel):
    """A Workflow of a workspace.

    Attributes:
        name: the name for people to read.
        workflow_id: what `client.workflow` takes.
        status: such as "published", or None.
    """

    name: PlainText
    workflow_id: PlainText = Field(validation_alias=AliasChoices("url", "id", "workflow_id"))
    status: PlainText | None = None


class WorkspaceModel(ServerModel):
    """A trained model of a project.

    Attributes:
        model_id: what `client.model` takes.
        name: the name for people to read, or None.
    """

    model_id: PlainText = Field(validation_alias=AliasChoices("id", "model_id", "url", "modelId"))
    name: PlainText | None = None


class Preflight(ServerModel):
    """Whether a key works, and whether its workspace has usage left.

    Attributes:
        workspace: the workspace of the key, as in the app's URL.
        workspace_id: its number.
        under_cap: whether the workspace's usage is below its limit.
    """

    workspace: PlainText | None = None
    workspace_id: PlainText | None = Field(
        default=None, validation_alias=AliasChoices("workspaceId", "workspace_id")
    )
    under_cap: bool = Field(validation_alias=AliasChoices("underCap", "under_cap"))
