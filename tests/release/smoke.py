"""What must work wherever the package is installed. `check.py` runs it in each fresh environment.

It is run by itself, with what was installed and nothing else: the standard library is all that it
may count on. With the extras it looks at every door, and at the commands.
"""

import asyncio
import importlib.metadata
import importlib.resources
import importlib.util
import json
import pkgutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import roboflow_async

IMAGE = b"\xff\xd8\xff\xe0" + bytes(500) + b"\xff\xd9"
# What a door is imported with; what is not here needs no extra.
NEEDED = {
    "cli": "typer",
    "fastapi": "fastapi",
    "opentelemetry": "opentelemetry",
    "ray": "ray",
    "testing": "uvicorn",
    "video": "av",
}


class API(BaseHTTPRequestHandler):
    """Responds to each image with how large it is."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        image = sent["inputs"]["image"]["value"]
        body = json.dumps({"outputs": [{"letters": len(image)}], "profiler_trace": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


async def call(url: str) -> None:
    async with roboflow_async.RoboflowClient("any", api_url=url) as client:
        workflow = client.workflow("any", "any")
        assert await workflow.run(IMAGE) == {"letters": 676}
        results = [result async for result in workflow.stream([IMAGE] * 4 + [b"no image"])]
        assert sum(result.ok for result in results) == 4
        (failed,) = [result for result in results if not result.ok]
        assert isinstance(failed.error, roboflow_async.ImageError)
        assert client.stats.succeeded == 5


def check_calls() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), API)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    asyncio.run(call(f"http://127.0.0.1:{server.server_port}"))
    server.shutdown()


def check_doors(*, extras: bool) -> list[str]:
    """Import every module that users import from."""
    doors = [
        one.name
        for one in pkgutil.iter_modules(roboflow_async.__path__)
        if not one.name.startswith("_")
    ]
    assert {"errors", "types", "endpoints", "fastapi", "testing"} <= set(doors)
    imported = []
    for name in doors:
        needed = NEEDED.get(name)
        if needed and not importlib.util.find_spec(needed):
            assert not extras, f"{name} needs {needed}, which no extra brought"
            continue
        module = importlib.import_module(f"roboflow_async.{name}")
        for public in getattr(module, "__all__", ()):
            getattr(module, public)
        imported.append(name)
    return imported


def check_commands(*, extras: bool) -> None:
    folder = Path(sys.executable).parent
    command = next(folder.glob("roboflow-async*"))
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    if extras:
        version = importlib.metadata.version("roboflow-async")
        assert done.stdout.strip() == f"roboflow-async {version}", done.stderr
        for name in ("run", "plan", "serve", "doctor", "demo", "benchmark api-speed", "batch"):
            subprocess.run([command, *name.split(), "--help"], capture_output=True, check=True)
    else:
        assert done.returncode == 1
        assert "roboflow-async[cli]" in done.stderr, done.stderr


def main() -> None:
    extras = "--extras" in sys.argv
    where = Path(roboflow_async.__file__)
    assert where.is_relative_to(sys.prefix), f"{where} is not what was installed"
    assert importlib.resources.files("roboflow_async").joinpath("py.typed").is_file()
    for name in roboflow_async.__all__:
        getattr(roboflow_async, name)
    check_calls()
    doors = check_doors(extras=extras)
    check_commands(extras=extras)
    python = ".".join(map(str, sys.version_info[:3]))
    print(f"Python {python}: calls, commands, {', '.join(doors)}")


if __name__ == "__main__":
    main()
