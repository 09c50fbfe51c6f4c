"""Segment Anything: SAM, SAM2 and SAM3."""

from typing import Any, ClassVar, Literal

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
    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True
    )


class Box(_Prompt):
    """A box in pixels: width and height, and its center (SAM2) or top left corner (SAM3).

    Attributes:
        x: pixels from the left edge of the image.
        y: pixels from its top edge.
        width: pixels.
        height: pixels.
    """

    x: float
    y: float
    width: float
    height: float


class CornerBox(_Prompt):
    """A box in pixels: left, top, right and bottom.

    Attributes:
        x0: the left edge.
        y0: the top edge.
        x1: the right edge.
        y1: the bottom edge.
    """

    x0: float
    y0: float
    x1: float
    y1: float


class PromptPoint(_Prompt):
    """A point in pixels; `positive`: whether it is on the object, not on the background.

    Attributes:
        x: pixels from the left edge of the image.
        y: pixels from its top edge.
    """

    x: float
    y: float
    positive: bool


class Sam2Prompt(_Prompt):
    """An object, given by a box around it, points on it and beside it, or both."""

    box: Box | None = None
    points: list[PromptPoint] | None = None


class Sam2Prompts(_Prompt):
    """Objects; a plain list is accepted, too.

    Attributes:
        prompts: a box, points or both for each object.
    """

    prompts: list[Sam2Prompt] | None = None

    @model_validator(mode="before")
    @classmethod
    def _of_a_list(cls, value: Any) -> Any:
        return {"prompts": value} if is_array(value) else value


class Sam3Prompt(_Prompt):
    """What to look for in the image.

    Attributes:
        type: "text" or "visual".
        text: a description in words.
        boxes: boxes around examples.
        box_labels: for each box, 1 for an example, 0 for a counterexample.
        output_prob_thresh: 0 to 1, for this prompt.
    """

    type: str | None = None
    text: str | None = None
    boxes: list[Box | CornerBox] | None = None
    box_labels: list[int | bool] | None = None
    output_prob_thresh: float | None = None


Masks = list[list[list[int]]]


class SamEmbedding(ServerResponse):
    """An image's embedding by SAM: nested lists of numbers of shape (1, 256, 64, 64).

    Attributes:
        embeddings: the numbers.
    """

    embeddings: Any


class SamMasks(ServerResponse):
    """Polygons in pixels for each mask. Masks of low resolution can be used as input again.

    They may be any JSON, because the server's contract says no more about them.

    Attributes:
        masks: the polygons.
        low_res_masks: the masks of low resolution.
    """

    masks: Any
    low_res_masks: Any


class CachedEmbedding(ServerResponse):
    """The name under which the server keeps an image's embedding for a while.

    Attributes:
        image_id: the name.
    """

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
    """All that was found for each prompt.

    Attributes:
        prompt_results: one for each prompt, in their order.
    """

    prompt_results: list[PromptResult]


class SamEmbedRequest(ImageRequest):
    """`image_id`: a name to keep the embedding under.

    Attributes:
        sam_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
        format: "json".
    """

    sam_version_id: str | None = None
    model_id: str | None = None
    image_id: str | None = None
    format: Literal["json"] | None = None


class SamSegmentRequest(ImageRequest):
    """A request for the object at certain points.

    Attributes:
        point_coords: pixels, [x, y] each.
        point_labels: 1 for a point on the object, 0 for a point on the background.
        image_id: the name of an image whose embedding the server keeps.
        embeddings: the image's embedding from `SAM_EMBED_IMAGE`; needs `orig_im_size`.
        orig_im_size: pixels, [height, width].
        mask_input: a low-resolution mask from an earlier response.
        embeddings_format: "json".
        has_mask_input: whether `mask_input` is used.
        mask_input_format: "json".
        use_mask_input_cache: whether the mask of an earlier request is used.
        format: "json".
        sam_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
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
    """`image_id`: a name to keep the embedding under.

    Attributes:
        sam2_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
    """

    sam2_version_id: str | None = None
    model_id: str | None = None
    image_id: str | None = None


class Sam2SegmentRequest(ImageRequest):
    """A request for the objects in certain boxes and at certain points.

    Attributes:
        prompts: boxes and points; None: the most prominent thing.
        multimask_output: whether several masks are tried and the best one is given.
        format: "json" (polygons) or "rle".
        save_logits_to_cache: whether to keep masks for a later request about the same image.
        load_logits_from_cache: whether to use masks of an earlier request.
        sam2_version_id: the version of the model.
        model_id: the whole id of the model; default: that of the version.
        image_id: the name of an image whose embedding the server keeps.
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
    """`image_id`: a name to keep the embedding under.

    Attributes:
        model_id: the model; default: the server's.
    """

    model_id: str | None = None
    image_id: str | None = None


class Sam3ConceptRequest(ImageRequest):
    """A request for all objects that fit certain words or examples.

    Attributes:
        prompts: texts and boxes, at least one.
        output_prob_thresh: less likely objects are left out: 0 to 1 (server default: 0.5).
        nms_iou_threshold: masks that overlap by more count as one: 0 to 1.
        format: "polygon" (server default), "json" or "rle".
        model_id: the model; default: the server's.
        image_id: the name of an image whose embedding the server keeps.
    """

    model_id: str | None = None
    image_id: str | None = None
    prompts: list[Sam3Prompt]
    output_prob_thresh: float | None = None
    nms_iou_threshold: float | None = None
    format: Literal["polygon", "json", "rle"] | None = None


class Sam33DRequest(ImageRequest):
    """Builds objects in three dimensions; `mask_input`: polygons or RLE of the objects.

    Attributes:
        model_id: the model; default: the server's.
        output_meshes: whether the response has a mesh of each object.
        output_scene: whether it has all of them in one scene.
        with_mesh_postprocess: whether meshes are cleaned.
        with_texture_baking: whether meshes have textures.
        use_distillations: whether a faster, less exact model is used.
    """

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
