"""What public methods take and give back, besides what `roboflow_async` itself has.

Predictions for each task, what a server and a workspace tell of themselves, the options of models,
and the names of what an argument may be. `roboflow_async.types.hooks` has the events of hooks.
"""

from typing import TYPE_CHECKING

from roboflow_async._engine.calls.priority import Priority
from roboflow_async._engine.calls.stats import LimitedBy
from roboflow_async._engine.images.url_policy import AllowURLs
from roboflow_async._engine.late_modules import late_names
from roboflow_async._engine.pace.protocols import ScopedRateLimiter, SharedRateLimiter, TrackedTurn
from roboflow_async._engine.public_names import show_as_public
from roboflow_async._engine.settings import (
    APIKeyTransport,
    ClientOptions,
    HTTPClient,
    TransportName,
)
from roboflow_async.types.arguments import (
    CallOptions,
    ModelArguments,
    StreamOptions,
    WorkflowArguments,
)
from roboflow_async.types.base import (
    BoundingBox,
    DetectedObject,
    ImageInference,
    ImageSize,
    Inference,
    Point,
    ResolvedModel,
    ScoredBox,
    ServerModel,
    ServerResponse,
)
from roboflow_async.types.inputs import WorkflowInput
from roboflow_async.types.model_options import ModelOptions, Route
from roboflow_async.types.platform.batch import (
    BatchEvent,
    BatchLogEntry,
    BatchOptions,
    BatchStage,
    BatchStatus,
    BatchTask,
    UploadProgress,
)
from roboflow_async.types.platform.deployments import (
    Deployment,
    DeploymentLogEntry,
    DeploymentUsage,
    MachineType,
)
from roboflow_async.types.platform.notifications import (
    BatchJobNotification,
    BatchNotification,
    FailedFile,
    IngestDetails,
    IngestError,
    StagingNotification,
)
from roboflow_async.types.platform.plan import Plan, PlannedMachine, PlannedWay, PlannedWayName
from roboflow_async.types.platform.workspace import Preflight, WorkspaceModel, WorkspaceWorkflow
from roboflow_async.types.predictions import (
    AnomalyDetection,
    AnomalyMap,
    Classification,
    ClassifiedAs,
    InstanceSegmentation,
    Keypoint,
    KeypointsDetection,
    KeypointsObject,
    MaskCoordinates,
    MultiLabelClassification,
    MultiLabelScore,
    ObjectDetection,
    Prediction,
    RLEObject,
    SegmentedObject,
    SemanticMask,
    SemanticSegmentation,
    Stub,
    Task,
)
from roboflow_async.types.server import (
    RegisteredModel,
    RegisteredModels,
    ServerInfo,
    WorkflowBlocks,
    WorkflowInterface,
    WorkflowValidation,
)
from roboflow_async.types.workflow_predictions import WorkflowClassification

if TYPE_CHECKING:
    from roboflow_async.types import hooks as hooks
else:
    __getattr__, __dir__ = late_names(globals(), {}, modules=("hooks",))

__all__ = [
    "APIKeyTransport",
    "AllowURLs",
    "AnomalyDetection",
    "AnomalyMap",
    "BatchEvent",
    "BatchJobNotification",
    "BatchLogEntry",
    "BatchNotification",
    "BatchOptions",
    "BatchStage",
    "BatchStatus",
    "BatchTask",
    "BoundingBox",
    "CallOptions",
    "Classification",
    "ClassifiedAs",
    "ClientOptions",
    "Deployment",
    "DeploymentLogEntry",
    "DeploymentUsage",
    "DetectedObject",
    "FailedFile",
    "HTTPClient",
    "ImageInference",
    "ImageSize",
    "Inference",
    "IngestDetails",
    "IngestError",
    "InstanceSegmentation",
    "Keypoint",
    "KeypointsDetection",
    "KeypointsObject",
    "LimitedBy",
    "MachineType",
    "MaskCoordinates",
    "ModelArguments",
    "ModelOptions",
    "MultiLabelClassification",
    "MultiLabelScore",
    "ObjectDetection",
    "Plan",
    "PlannedMachine",
    "PlannedWay",
    "PlannedWayName",
    "Point",
    "Prediction",
    "Preflight",
    "Priority",
    "RLEObject",
    "RegisteredModel",
    "RegisteredModels",
    "ResolvedModel",
    "Route",
    "ScopedRateLimiter",
    "ScoredBox",
    "SegmentedObject",
    "SemanticMask",
    "SemanticSegmentation",
    "ServerInfo",
    "ServerModel",
    "ServerResponse",
    "SharedRateLimiter",
    "StagingNotification",
    "StreamOptions",
    "Stub",
    "Task",
    "TrackedTurn",
    "TransportName",
    "UploadProgress",
    "WorkflowArguments",
    "WorkflowBlocks",
    "WorkflowClassification",
    "WorkflowInput",
    "WorkflowInterface",
    "WorkflowValidation",
    "WorkspaceModel",
    "WorkspaceWorkflow",
]

show_as_public(globals())
