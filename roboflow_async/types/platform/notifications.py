"""What the platform posts to a webhook: that a job has ended, or how an upload went."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from roboflow_async.types.base import PlainText, ServerModel

__all__ = [
    "BatchNotification",
    "BatchJobNotification",
    "FailedFile",
    "IngestDetails",
    "IngestError",
    "StagingNotification",
]

_EventId = Annotated[PlainText, Field(min_length=1, max_length=200)]


class BatchJobNotification(ServerModel):
    """A job has ended.

    Attributes:
        event_id: its id: the same whenever it is delivered again.
        job_id: the job.
        job_state: "success" or "fail".
        delivery_attempt: 1 for the first delivery.
        succeeded: whether the job did not fail.
        type: the kind of the notification.
    """

    type: Literal["roboflow-batch-job-notification-v1"]
    event_id: _EventId
    job_id: PlainText
    job_state: PlainText
    delivery_attempt: int = 1

    @property
    def succeeded(self) -> bool:
        """Whether the job did not fail."""
        return self.job_state == "success"


class IngestError(ServerModel):
    """Why an upload could not be registered.

    Attributes:
        type: what kind of error it is.
        reason: what happened.
    """

    type: PlainText | None = None
    reason: PlainText | None = None


class FailedFile(ServerModel):
    """A file that could not be registered.

    Attributes:
        file_name: its name.
        type: what kind of error it is.
        reason: what happened.
    """

    file_name: PlainText | None = None
    type: PlainText | None = None
    reason: PlainText | None = None


class IngestDetails(ServerModel):
    """How the registration of an upload went.

    Attributes:
        type: whether it is of the upload, or of its files.
        success: whether it went well.
        error_details: why not, or None.
        ingested_files: names of files that are registered; not all of them, if there are many.
        failed_files: those that are not.
        content_truncated: whether the lists are longer than this.
    """

    type: PlainText | None = None
    success: bool
    error_details: IngestError | None = None
    ingested_files: tuple[PlainText, ...] = ()
    failed_files: tuple[FailedFile, ...] = ()
    content_truncated: bool = False


class StagingNotification(ServerModel):
    """An upload to Data Staging was registered, or could not be.

    Attributes:
        event_id: its id: the same whenever it is delivered again.
        ingest_id: the id that the upload was given, or None.
        batch_id: the batch.
        shard_id: the archive, or None.
        notification: how it went.
        delivery_attempt: 1 for the first delivery.
        type: the kind of the notification.
    """

    type: Literal["roboflow-data-staging-notification-v1"]
    event_id: _EventId
    ingest_id: PlainText | None = None
    batch_id: PlainText
    shard_id: PlainText | None = None
    notification: IngestDetails
    delivery_attempt: int = 1


BatchNotification: TypeAlias = BatchJobNotification | StagingNotification
"""What a webhook gets."""
