"""Calls through the official client, for test_differential.py; runs in its virtual environment.

    python tests/support/inference_sdk_calls.py BASE_URL IMAGE_PATH

Each call goes to BASE_URL/NAME, so that the server can tell them apart. Prints what each returned.
"""

import json
import sys
from typing import Any

KEY = "a-key-of-the-tests"
SPECIFICATION = {"version": "1.0", "inputs": [], "steps": [], "outputs": []}
BOX = [{"box": {"x": 10, "y": 10, "width": 5, "height": 5}}]
WORDS = [{"type": "text", "text": "cat"}]


def calls(image: str) -> dict[str, Any]:
    return {
        "video": lambda c: c.infer_on_video(image, "clips/1"),
        "workflow": lambda c: c.run_workflow(
            "ws", "wf", images={"image": image}, parameters={"a": 1}, excluded_fields=["x"]
        ),
        "workflow-inline": lambda c: c.run_workflow(
            specification=SPECIFICATION, images={"image": [image, image]}, use_cache=False
        ),
        "workflow-version": lambda c: c.run_workflow(
            "ws", "wf", images={"image": image}, workflow_version_id="7", disable_sinks=True
        ),
        "infer": lambda c: c.infer(image, "pets/3"),
        "infer-list": lambda c: c.infer([image, image], "pets/3"),
        "infer-no-registry": lambda c: c.infer(image, "pets/3"),
        "infer-path": lambda c: c.infer_from_api_v0(image, "pets/3"),
        "clip-image": lambda c: c.get_clip_image_embeddings(image, "ViT-B-32"),
        "clip-text": lambda c: c.get_clip_text_embeddings(["a", "b"], "ViT-B-32"),
        "clip-compare": lambda c: c.clip_compare(image, ["a", "b"]),
        "clip-compare-images": lambda c: c.clip_compare(image, [image, image], "image", "image"),
        "pe-image": lambda c: c.get_perception_encoder_image_embeddings(image),
        "pe-text": lambda c: c.get_perception_encoder_text_embeddings("a"),
        "embeddings": lambda c: c.get_image_embeddings(image, "pets/3"),
        "ocr-doctr": lambda c: c.ocr_image(image, generate_bounding_boxes=True),
        "ocr-easy": lambda c: c.ocr_image(
            image, model="easy_ocr", language_codes=["de"], quantize=True
        ),
        "ocr-trocr": lambda c: c.ocr_image(image, model="trocr", version="trocr-base-printed"),
        "ocr-paddle": lambda c: c.ocr_image(image, model="pp_ocr", version="small-none"),
        "sam2": lambda c: c.sam2_segment_image(image, prompts=BOX),
        "sam3-concept": lambda c: c.sam3_concept_segment(image, prompts=WORDS),
        "sam3-visual": lambda c: c.sam3_visual_segment(image, prompts=BOX),
        "sam3-embed": lambda c: c.sam3_embed_image(image, image_id="one"),
        "sam3-3d": lambda c: c.sam3_3d_infer(image, mask_input=[[1, 2, 3]]),
        "yolo-world": lambda c: c.infer_from_yolo_world(image, ["cat"], "s", 0.2),
        "lmm": lambda c: c.infer_lmm(image, "florence-2-base", "what?", max_new_tokens=9),
        "lmm-path": lambda c: c.infer_lmm(image, "florence-2-base", model_id_in_path=True),
        "depth": lambda c: c.depth_estimation(image, depth_map_format="png16"),
        "depth-path": lambda c: c.depth_estimation(
            image, model_id_in_path=True, depth_map_format="png8"
        ),
        "info": lambda c: c.get_server_info(),
        "list": lambda c: c.list_loaded_models(),
        "describe": lambda c: c.get_model_description("pets/3"),
        "load": lambda c: c.load_model("yolov11n-640"),
        "unload": lambda c: c.unload_model("yolov11n-640"),
        "pipeline-start": lambda c: c.start_inference_pipeline_with_workflow(
            "rtsp://camera", workspace_name="ws", workflow_id="wf", max_fps=5
        ),
        "pipeline-list": lambda c: c.list_inference_pipelines(),
        "pipeline-status": lambda c: c.get_inference_pipeline_status("p1"),
        "pipeline-pause": lambda c: c.pause_inference_pipeline("p1"),
        "pipeline-resume": lambda c: c.resume_inference_pipeline("p1"),
        "pipeline-terminate": lambda c: c.terminate_inference_pipeline("p1"),
        "pipeline-consume": lambda c: c.consume_inference_pipeline_result("p1", ["x"]),
        "unload-all": lambda c: c.unload_all_models(),
    }


def main() -> None:
    from inference_sdk import InferenceConfiguration, InferenceHTTPClient

    base_url, image = sys.argv[1:]
    returned: dict[str, Any] = {}
    for name, call in calls(image).items():
        client = InferenceHTTPClient(api_url=f"{base_url}/{name}", api_key=KEY)
        client.configure(InferenceConfiguration(api_key_transport="header"))
        if name == "infer-no-registry":
            client.select_api_v0()  # as it does for the hosts of Roboflow's API
        else:
            client.select_api_v1()
        try:
            returned[name] = call(client)
        except Exception as error:  # noqa: BLE001 - not every answer of the test's server fits
            returned[name] = f"{type(error).__name__}: {error}"
    print(json.dumps(returned, default=str))


if __name__ == "__main__":
    main()
