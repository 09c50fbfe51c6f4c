"""OCR: the text in an image."""

from roboflow_async.endpoints.base import Endpoint, ImageRequest
from roboflow_async.types.base import DetectedObject, ImageSize, ServerResponse

__all__ = [
    "OCR_DOCTR",
    "OCR_EASY",
    "OCR_PADDLE",
    "OCR_TROCR",
    "DoctrRequest",
    "EasyOCRRequest",
    "OCRText",
    "PPOCRRequest",
    "TrOCRRequest",
]


class OCRText(ServerResponse):
    """Text.

    Attributes:
        result: the whole text.
        image: the size of the image that was given.
        predictions: a box for each piece of text, if requested; the text is in `class_name`.
        parent_id: the id of the image within the request, if the server gives one.
    """

    result: str
    image: ImageSize | None = None
    predictions: list[DetectedObject] | None = None
    parent_id: str | None = None


class DoctrRequest(ImageRequest):
    """A request for text of any kind.

    Attributes:
        generate_bounding_boxes: whether the response has `predictions`.
        doctr_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
    """

    doctr_version_id: str | None = None
    model_id: str | None = None
    generate_bounding_boxes: bool | None = None


class EasyOCRRequest(ImageRequest):
    """A request for text in many languages.

    Attributes:
        language_codes: such as ["en"] (server default).
        quantize: whether to use a smaller model.
        easy_ocr_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
    """

    easy_ocr_version_id: str | None = None
    model_id: str | None = None
    language_codes: list[str] | None = None
    quantize: bool | None = None


class TrOCRRequest(ImageRequest):
    """A single line of text; `trocr_version_id`: such as "trocr-base-printed" (server default).

    Attributes:
        model_id: the whole id of the model; default: that of the version.
    """

    trocr_version_id: str | None = None
    model_id: str | None = None


class PPOCRRequest(ImageRequest):
    """Text, in two stages, each "none", "tiny", "small" (server default) or "medium".

    Attributes:
        text_detection: of the stage that finds text.
        text_recognition: of the stage that reads it.
        pp_ocr_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
    """

    text_detection: str | None = None
    text_recognition: str | None = None
    pp_ocr_version_id: str | None = None
    model_id: str | None = None


OCR_DOCTR = Endpoint("/doctr/ocr", DoctrRequest, OCRText)
OCR_EASY = Endpoint("/easy_ocr/ocr", EasyOCRRequest, OCRText)
OCR_TROCR = Endpoint("/ocr/trocr", TrOCRRequest, OCRText)
OCR_PADDLE = Endpoint("/ocr/pp-ocr", PPOCRRequest, OCRText)
