"""The README's examples run as they are written, against the stand-in API."""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.redis_server import RedisServer, needs_redis
from support.serving import serving

from roboflow_async.testing import StandInPlatform, StandInServer, draw_scene

README = (Path(__file__).parents[2] / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def block(language: str, part: str) -> str:
    (found,) = [text for kind, text in BLOCKS if kind == language and part in text]
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    for seed in range(1, 7):
        (tmp_path / "data" / f"{seed:04}.jpg").write_bytes(draw_scene(seed).jpeg)
    return tmp_path


def run(code: str, folder: Path, server: StandInServer, *arguments: str) -> str:
    environment = os.environ | {"ROBOFLOW_API_KEY": "any", "ROBOFLOW_API_URL": server.url}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", *(arguments or ("-c", code))],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_script(folder: Path, roboflow_stand_in: StandInServer) -> None:
    printed = run(block("python", "warm_up"), folder, roboflow_stand_in).splitlines()
    assert len(printed) == 6
    assert all("'predictions'" in line and "failed" not in line for line in printed)


def test_the_images_example(folder: Path, roboflow_stand_in: StandInServer) -> None:
    """The example with `decode_image` prints the boxes and writes the annotated picture."""
    printed = run(block("python", "decode_image"), folder, roboflow_stand_in).splitlines()
    assert printed[0] == str(len(draw_scene(1).boxes))
    assert (folder / "annotated.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_models_and_endpoints(folder: Path, roboflow_stand_in: StandInServer) -> None:
    printed = run(block("python", "client.model("), folder, roboflow_stand_in).splitlines()
    assert sum("0001.jpg shape" in line for line in printed) == len(draw_scene(1).boxes)
    assert "<Endpoint /doctr/ocr> <Endpoint /clip/compare>" in printed[-1]


def test_the_rented_machine(folder: Path, roboflow_stand_in: StandInServer) -> None:
    with StandInPlatform(speed=60) as platform:
        code = block("python", "rented(").replace(
            "RoboflowClient()", f"RoboflowClient(platform_url={platform.url!r})"
        )
        printed = run(code, folder, roboflow_stand_in).splitlines()
    assert sorted(printed) == [f"data/{seed:04}.jpg True" for seed in range(1, 7)]
    assert not roboflow_stand_in.meter.billed  # all went to the machine


def test_the_batch(
    folder: Path, roboflow_stand_in: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    with StandInPlatform(speed=600) as platform:
        code = block("python", "workflow.batch(images").replace(
            "RoboflowClient()", f"RoboflowClient(platform_url={platform.url!r})"
        )
        code = code.replace('machine="gpu"', 'machine="gpu", poll_interval=0.1')
        printed = run(code, folder, roboflow_stand_in).splitlines()
    assert printed == [f"data/{seed:04}.jpg True" for seed in range(1, 7)]


@pytest.mark.anyio
async def test_the_fastapi_handler(
    roboflow_stand_in: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", "any")
    monkeypatch.setenv("ROBOFLOW_API_URL", roboflow_stand_in.url)
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(block("python", '@app.post("/predict", dep'), "README.md", "exec"), names)
    async with (
        serving(names["app"]) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as http,
    ):
        answers = await asyncio.gather(
            *(http.post("/predict", files={"image": draw_scene(seed).jpeg}) for seed in range(8))
        )
        assert [answer.status_code for answer in answers] == [200] * 8
        counts = [answer.json()["count"] for answer in answers]
        assert counts == [len(draw_scene(seed).boxes) for seed in range(8)]
        refused = await http.post("/predict", files={"image": b"/etc/passwd"})
        assert refused.status_code == 422


@pytest.mark.anyio
async def test_the_fastapi_handler_of_many_images(
    roboflow_stand_in: StandInServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", "any")
    monkeypatch.setenv("ROBOFLOW_API_URL", roboflow_stand_in.url)
    names: dict[str, Any] = {"__name__": "app"}
    exec(compile(block("python", '@app.post("/predict/many")'), "README.md", "exec"), names)
    async with (
        serving(names["app"]) as url,
        httpx.AsyncClient(base_url=url, timeout=10) as http,
    ):
        files = [("images", (f"{seed}.jpg", draw_scene(seed).jpeg)) for seed in range(5)]
        answer = await http.post("/predict/many", files=[*files, ("images", ("x", b"no image"))])
        roboflow_stand_in.fail("unauthorized")
        refused = await http.post("/predict/many", files=files)
    assert json.loads(refused.text) == {"error": "the vision service is not available"}
    lines = {line["name"]: line for line in map(json.loads, answer.text.splitlines())}
    assert "the image cannot be used" in lines.pop("x")["error"]
    assert {name: line["count"] for name, line in lines.items()} == {
        f"{seed}.jpg": len(draw_scene(seed).boxes) for seed in range(5)
    }


@needs_redis
@pytest.mark.anyio
async def test_the_deployment(
    roboflow_stand_in: StandInServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROBOFLOW_API_KEY", "any")
    monkeypatch.setenv("ROBOFLOW_API_URL", roboflow_stand_in.url)
    with RedisServer(tmp_path) as redis:
        code = block("python", "RedisRateLimiter").replace("redis://localhost:6379", redis.url)
        names: dict[str, Any] = {"__name__": "app"}
        exec(compile(code, "README.md", "exec"), names)
        app = names["app"]
        async with serving(app) as url, httpx.AsyncClient(base_url=url) as http:
            await app.state.roboflow_client.workflow("any", "any").run(draw_scene(1).jpeg)
            stats = (await http.get("/stats")).json()
    assert stats["succeeded"] == 1
    alerts = README.partition("**What to alert on**")[2].partition("\n## ")[0]
    signs = "".join(line.split("|")[1] for line in alerts.splitlines() if line.startswith("|"))
    for name in set(re.findall(r"`(\w+)`", signs)) - {"queue_timeout", "max_waiting", "timeout"}:
        assert name in stats or name == "requests_per_second"


def test_the_demo(folder: Path, roboflow_stand_in: StandInServer) -> None:
    assert "python -m roboflow_async demo" in block("console", "demo")
    arguments = ("-m", "roboflow_async", "demo", "--images", "30", "--latency", "0.1")
    printed = run("", folder, roboflow_stand_in, *arguments)
    for row in (r"images\W+30", r"lost\W+0", r"429\W+\d", r"rolling second\W+\d\d", r"p90"):
        assert re.search(row, printed), (row, printed)
    assert (folder / "demo.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_the_pytest_example(folder: Path, roboflow_stand_in: StandInServer) -> None:
    example = block("python", "roboflow_stand_in.fail")
    backend = "import pytest\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n"
    (folder / "conftest.py").write_text(backend)
    (folder / "test_example.py").write_text(example)
    printed = run("", folder, roboflow_stand_in, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert "1 passed" in printed


def test_every_knob_of_the_table_is_an_argument() -> None:
    import inspect

    from roboflow_async import RoboflowClient

    table = README.partition("## Knobs")[2].partition("##")[0]
    named = set(
        re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)))
    )
    arguments = set(inspect.signature(RoboflowClient).parameters)
    assert named <= arguments
    assert arguments == named
