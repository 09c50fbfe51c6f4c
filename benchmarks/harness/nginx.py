"""nginx on loopback, which answers every POST at once: the client is what is measured."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CONFIGURATION = """
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 64m;
    keepalive_requests 100000000;
    keepalive_timeout 60s;
    default_type application/json;
    {limit}
    server {{
        listen {listen} backlog=1024;
        location / {{ return 200 '{prediction}'; }}
        location /any/workflows/ {{ return 200 '{workflow}'; }}
    }}
}}
"""

# `return` answers before a limit is looked at: the limited server passes on what it lets through.
_LIMIT = """
    limit_req_zone $server_port zone=all:1m rate={rate}r/s;
    limit_req_status {status};
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{ limit_req zone=all; proxy_pass http://unix:{folder}/behind; }}
    }}
"""


def _prediction() -> dict[str, object]:
    """What a detector answers: 4 KB, as much as nginx takes in one directive."""
    box = {
        "x": 1204.5,
        "y": 733.25,
        "width": 210.0,
        "height": 188.5,
        "confidence": 0.9131847620010376,
        "class": "triangle",
        "class_id": 2,
        "detection_id": "0f3c2e9a-6f0e-4c1a-9d0e-5b7f2a1c4d3e",
    }
    return {
        "time": 0.021,
        "image": {"width": 1920, "height": 1080},
        "predictions": [{**box, "x": 40.0 * index} for index in range(21)],
    }


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


@contextmanager
def nginx(core: int, *, limit: int | None = None, status: int = 429) -> Iterator[str]:
    """Its base URL while it runs: on one core, or with a limit on any.

    With a limit of so many requests per second and no burst, it answers that status to each that
    comes sooner than 1/limit after the last that it let through.
    """
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise SystemExit("nginx is needed: apt-get install nginx-light, or brew install nginx.")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "nginx.conf")
        limited = {"rate": limit, "status": status, "port": port, "folder": folder}
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                listen=f"unix:{folder}/behind" if limit else f"127.0.0.1:{port}",
                limit=_LIMIT.format(**limited) if limit else "",
                prediction=_json(_prediction()),
                workflow=_json({"outputs": [{"predictions": _prediction()}]}),
            )
        )
        command = [program, "-c", str(configuration), "-p", folder]
        command = before_all_others(command) if limit else on_core(core, command)
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def on_core(core: int, command: list[str]) -> list[str]:
    """The command, kept on one core where the system can do that (Linux)."""
    return ["taskset", "-c", str(core), *command] if shutil.which("taskset") else command


def before_all_others(command: list[str]) -> list[str]:
    """The command, run before what else wants the processor, where that is allowed (Linux, root).

    A limited server looks at when it reads a request. Where it must wait for its turn, for up to
    4 ms, two requests that left 51 ms apart are 47 ms apart to it.
    """
    is_allowed = shutil.which("chrt") and hasattr(os, "geteuid") and os.geteuid() == 0
    return ["chrt", "--fifo", "1", *command] if is_allowed else command


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(100):
        if process.poll() is not None:
            raise SystemExit("nginx did not start.")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("nginx does not listen.")
