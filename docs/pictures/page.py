"""Makes page.png: the page of examples/app.py in Chromium, with what the stand-in API finds."""

import io
import shutil
import sys
from pathlib import Path
from typing import Final

import PIL.Image
from playwright.sync_api import sync_playwright

from roboflow_async.testing import StandInServer, draw_scene

sys.path.append(str(Path(__file__).parents[2] / "tests"))

from support.example_app import example_app

SEEDS: Final = (7, 3, 12)


def main() -> None:
    pictures = [
        {
            "name": f"shelf-{number:02}.jpg",
            "mimeType": "image/jpeg",
            "buffer": draw_scene(seed, shapes=3 + number % 3).jpeg,
        }
        for number, seed in enumerate(SEEDS, 1)
    ]
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with (
        StandInServer() as server,
        example_app(server.url) as url,
        sync_playwright() as driver,
        driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as browser,
    ):
        window = browser.new_page(viewport={"width": 1100, "height": 630}, color_scheme="light")
        window.goto(url)
        window.set_input_files("#files", pictures)
        window.wait_for_selector("body[data-finished]", timeout=20_000)
        window.wait_for_load_state("networkidle")
        shot = PIL.Image.open(io.BytesIO(window.screenshot(animations="disabled")))
        # A third of the size, and no eye sees it.
        shot.convert("RGB").quantize(256).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
