"""Roboflow's own Inference Server (PyPI `inference-cpu`) with one offline detector, "shapes/1".

The HTTP layer, validation, workflow engine and response shapes are the server's own;
only the model is local: it returns one box for each bright shape on a dark image, so
a test that draws shapes knows the boxes that must come back.
"""

from typing import ClassVar

import cv2
import numpy as np
from inference.core.entities.responses.inference import (
    InferenceResponseImage,
    ObjectDetectionInferenceResponse,
    ObjectDetectionPrediction,
)
from inference.core.interfaces.http.http_api import HttpInterface
from inference.core.managers.base import ModelManager
from inference.core.models.base import Model
from inference.core.registries.base import ModelRegistry
from inference.core.utils.image_utils import load_image_bgr

MODEL_ID = "shapes/1"


class ShapeDetector(Model):
    """Bright blobs on a dark ground, as an object-detection model."""

    task_type = "object-detection"
    batch_size = 8
    img_size_h = img_size_w = 640
    class_names: ClassVar = ["shape"]
    api_key = None

    def infer_from_request(self, request):
        images = request.image if isinstance(request.image, list) else [request.image]
        responses = [self._detect(load_image_bgr(image)) for image in images]
        return responses if isinstance(request.image, list) else responses[0]

    def _detect(self, image: np.ndarray) -> ObjectDetectionInferenceResponse:
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        _, mask = cv2.threshold(gray, 127, 255, cv2.THRESH_BINARY)
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        boxes = sorted(cv2.boundingRect(contour) for contour in contours)
        return ObjectDetectionInferenceResponse(
            image=InferenceResponseImage(width=image.shape[1], height=image.shape[0]),
            predictions=[
                ObjectDetectionPrediction(
                    **{"class": "shape"},
                    class_id=0,
                    confidence=0.9,
                    x=x + w / 2,
                    y=y + h / 2,
                    width=w,
                    height=h,
                )
                for x, y, w, h in boxes
                if w * h >= 64
            ],
        )


class OfflineModelManager(ModelManager):
    """Serves `shapes/1` from memory and asks no registry on the network."""

    def add_model(self, model_id, api_key, **kwargs):
        if model_id not in self._models:
            super().add_model(model_id, api_key, **kwargs)

    def get_task_type(self, model_id, api_key=None):
        if model_id in self._models:
            return self._models[model_id].task_type
        return super().get_task_type(model_id, api_key=api_key)


manager = OfflineModelManager(ModelRegistry({}), models={MODEL_ID: ShapeDetector()})
app = HttpInterface(manager).app
