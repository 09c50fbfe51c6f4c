"""Segment Anything, the first to the third."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from roboflow_async._engine.jsonvalues import is_array
from roboflow_async.endpoints.base import Endpoint, ImageRequest
from roboflow_async.types.base import ServerModel, ServerResponse

__all__ = [
    "SAM2_EMBED_IMAGE",
    "SAM2_SEGMENT_IMAGE",
    "SAM3_3D",
    "SAM3_CONCEPT_SEGMENT",
    "SAM3_EMBED_IMAGE",
    "SAM3_VISUAL_SEGMENT",
    "SAM_EMBED_IMAGE",
    "SAM_SEGMENT_IMAGE",
    "Box",
    "CachedEmbedding",
    "CornerBox",
    "PromptPoint",
    "Sam2EmbedRequest",
    "Sam2Prompt",
    "Sam2Prompts",
    "Sam2SegmentRequest",
    "Sam3ConceptRequest",
    "Sam3EmbedRequest",
    "Sam3Prompt",
    "Sam33DRequest",
    "SamEmbedRequest",
    "SamEmbedding",
    "SamMasks",
    "SamSegmentRequest",
    "SegmentedConcepts",
    "SegmentedPrompts",
]


class _Prompt(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )


class Box(_Prompt):
    """A box in pixels: width and height, and its center (SAM2) or top left corner (SAM3)."""

    x: float
    y: float
    width: float
    height: float


class CornerBox(_Prompt):
    """A box in pixels: left, top, right and bottom."""

    x0: float
    y0: float
    x1: float
    y1: float


class PromptPoint(_Prompt):
    """A point in pixels; `positive`: whether it is of the object, not of the background."""

    x: float
    y: float
    positive: bool


class Sam2Prompt(_Prompt):
    """An object: the box around it, points in it and beside it, or both."""

    box: Box | None = None
    points: list[PromptPoint] | None = None


class Sam2Prompts(_Prompt):
    """Objects; may be given as the list of them."""

    prompts: list[Sam2Prompt] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_list(cls, value: Any) -> Any:
        return {"prompts": value} if is_array(value) else value


class Sam3Prompt(_Prompt):
    """What to look for.

    Attributes:
        type: "text" or "visual".
        text: in words.
        boxes: examples.
        box_labels: for each box 1 if it is an example, 0 if it is a counterexample.
        output_prob_thresh: 0 to 1, for this prompt.
    """

    type: str | None = None
    text: str | None = None
    boxes: list[Box | CornerBox] | None = None
    box_labels: list[int | bool] | None = None
    output_prob_thresh: float | None = None


Masks = list[list[list[int]]]


class SamEmbedding(ServerResponse):
    """An image as SAM sees it: numbers of shape (1, 256, 64, 64), as nested lists."""

    embeddings: Any


class SamMasks(ServerResponse):
    """Polygons in pixels, for each mask; those of low resolution can be given back as input.

    Of any JSON: the contract says no more of them.
    """

    masks: Any
    low_res_masks: Any


class CachedEmbedding(ServerResponse):
    """The name under which the server keeps an image's embedding for a while."""

    image_id: str


class MaskPrediction(ServerModel):
    """A mask: polygons in pixels, or RLE as COCO has it."""

    masks: Masks | dict[str, Any]
    confidence: float
    format: str | None = None


class SegmentedPrompts(ServerResponse):
    """A mask for each prompt."""

    predictions: list[MaskPrediction]


class PromptEcho(ServerModel):
    """The prompt that was given."""

    prompt_index: int
    type: str | None = None
    text: str | None = None
    num_boxes: int | None = None


class PromptResult(ServerModel):
    """What was found for a prompt."""

    prompt_index: int
    echo: PromptEcho
    predictions: list[MaskPrediction]


class SegmentedConcepts(ServerResponse):
    """All that was found for each prompt."""

    prompt_results: list[PromptResult]


class SamEmbedRequest(ImageRequest):
    """`image_id`: a name to keep the embedding under."""

    sam_version_id: str | None = None
    model_id: str | None = None
    image_id: str | None = None
    format: Literal["json"] | None = None


class SamSegmentRequest(ImageRequest):
    """What is at certain points.

    Attributes:
        point_coords: pixels, [x, y] each.
        point_labels: 1 for a point of the object, 0 for one of the background.
        image_id: of an image whose embedding the server has.
        embeddings: of the image, as `SAM_EMBED_IMAGE` gave it; needs `orig_im_size`.
        orig_im_size: pixels, [height, width].
        mask_input: of low resolution, of an earlier response.
    """

    sam_version_id: str | None = None
    model_id: str | None = None
    image_id: str | None = None
    point_coords: list[list[float]] | None = None
    point_labels: list[float] | None = None
    embeddings: list[list[list[list[float]]]] | None = None
    embeddings_format: Literal["json"] | None = None
    orig_im_size: list[int] | None = None
    has_mask_input: bool | None = None
    mask_input: list[list[list[float]]] | None = None
    mask_input_format: Literal["json"] | None = None
    use_mask_input_cache: bool | None = None
    format: Literal["json"] | None = None


class Sam2EmbedRequest(ImageRequest):
    """`image_id`: a name to keep the embedding under."""

    sam2_version_id: str | None = None
    model_id: str | None = None
    image_id: str | None = None


class Sam2SegmentRequest(ImageRequest):
    """What is in certain boxes and at certain points.

    Attributes:
        prompts: boxes and points; None: the most prominent thing.
        multimask_output: whether several masks are tried and the best one is given.
        format: "json" (polygons) or "rle".
        save_logits_to_cache: for a later request about the same image.
        load_logits_from_cache: of an earlier one.
    """

    sam2_version_id: str | None = None
    model_id: str | None = None
    image_id: str | None = None
    prompts: Sam2Prompts | None = None
    multimask_output: bool | None = None
    format: Literal["json", "rle", "polygon"] | None = None
    save_logits_to_cache: bool | None = None
    load_logits_from_cache: bool | None = None


class Sam3EmbedRequest(ImageRequest):
    """`image_id`: a name to keep the embedding under."""

    model_id: str | None = None
    image_id: str | None = None


class Sam3ConceptRequest(ImageRequest):
    """All that fits certain words or examples.

    Attributes:
        prompts: texts and boxes, one at least.
        output_prob_thresh: what is less likely is left out: 0 to 1 (server default: 0.5).
        nms_iou_threshold: masks that overlap by more are one: 0 to 1.
        format: "polygon" (server default), "json" or "rle".
    """

    model_id: str | None = None
    image_id: str | None = None
    prompts: list[Sam3Prompt]
    output_prob_thresh: float | None = None
    nms_iou_threshold: float | None = None
    format: Literal["polygon", "json", "rle"] | None = None


class Sam33DRequest(ImageRequest):
    """Objects in three dimensions; `mask_input`: polygons or RLE of what is to be built."""

    model_id: str | None = None
    mask_input: Any
    output_meshes: bool | None = None
    output_scene: bool | None = None
    with_mesh_postprocess: bool | None = None
    with_texture_baking: bool | None = None
    use_distillations: bool | None = None


SAM_EMBED_IMAGE = Endpoint("/sam/embed_image", SamEmbedRequest, SamEmbedding)
SAM_SEGMENT_IMAGE = Endpoint("/sam/segment_image", SamSegmentRequest, SamMasks)
SAM2_EMBED_IMAGE = Endpoint("/sam2/embed_image", Sam2EmbedRequest, CachedEmbedding)
SAM2_SEGMENT_IMAGE = Endpoint("/sam2/segment_image", Sam2SegmentRequest, SegmentedPrompts)
SAM3_EMBED_IMAGE = Endpoint("/sam3/embed_image", Sam3EmbedRequest, CachedEmbedding)
SAM3_CONCEPT_SEGMENT = Endpoint("/sam3/concept_segment", Sam3ConceptRequest, SegmentedConcepts)
SAM3_VISUAL_SEGMENT = Endpoint("/sam3/visual_segment", Sam2SegmentRequest, SegmentedPrompts)
SAM3_3D = Endpoint("/sam3_3d/infer", Sam33DRequest, ServerResponse)
