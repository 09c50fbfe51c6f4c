"""What is given to a Workflow."""

from collections.abc import Mapping

from roboflow_async._engine.images.inputs import ImageInput

__all__ = ["WorkflowInput"]


WorkflowInput = ImageInput | Mapping[str, ImageInput]
"""One image, or a dict of images by the names of the Workflow's inputs."""
