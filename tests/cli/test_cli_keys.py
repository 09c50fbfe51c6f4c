"""Where the commands take the API key from, so that no list of processes shows it."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.command_line import CommandLine

from roboflow_async import ConfigurationError
from roboflow_async.cli.keys import read_key
from roboflow_async.testing import StandInServer, draw_scene

KEY = "rf_SECRETkey0123456789"
ENVIRONMENT = {name: value for name, value in os.environ.items() if "ROBOFLOW" not in name}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    "content", [KEY, f"{KEY}\n", f"{KEY}\r\n", f"\ufeff{KEY}\n"], ids=["bare", "lf", "crlf", "bom"]
)
def test_a_line_end_after_the_key_is_dropped(key_file: Path, content: str) -> None:
    key_file.write_bytes(content.encode())
    assert read_key(None, str(key_file)) == KEY


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 5000], ids=["empty", "line", "long"])
def test_a_file_without_a_key_is_told(key_file: Path, content: bytes) -> None:
    key_file.write_bytes(content)
    with pytest.raises(ConfigurationError, match="holds no API key"):
        read_key(None, str(key_file))


@pytest.mark.parametrize("name", ["nothing", "", "a\0b", "/dev/zero", "."])
def test_a_file_that_gives_none_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match="--api-key-file"):
        read_key(None, name)


def test_a_file_that_everybody_can_read_is_warned_of(
    key_file: Path, capsys: pytest.CaptureFixture[str], command_line: CommandLine
) -> None:
    assert read_key(None, str(key_file)) == KEY
    assert capsys.readouterr().err == ""
    key_file.chmod(0o644)
    arguments = ("doctor", "--host", "http://127.0.0.1:1", "--api-key-file", "key")
    done = command_line.run(*arguments, cwd=key_file.parent, env=ENVIRONMENT)
    assert "chmod 600" in done.stderr
    assert "given by --api-key-file" in done.stderr
    assert KEY not in done.stderr


@pytest.mark.parametrize("way", ["file", "stdin", "pipe", "as --api-key -"])
@pytest.mark.parametrize("command", ["run", "doctor", "benchmark"])
def test_the_key_comes_from_a_file_or_stdin(
    key_file: Path, command_line: CommandLine, command: str, way: str
) -> None:
    folder = key_file.parent
    (folder / "a.jpg").write_bytes(draw_scene(1).jpeg)
    option = {
        "file": ["--api-key-file", "key"],
        "stdin": ["--api-key-file", "-"],
        "pipe": ["--api-key-file", "/dev/stdin"],
        "as --api-key -": ["--api-key", "-"],
    }[way]
    with StandInServer(api_key=KEY, requests_per_second=None, latency=0.0) as server:
        arguments = {
            "run": ["run", "a.jpg", "--model", "pets/3"],
            "doctor": ["doctor"],
            "benchmark": [
                "benchmark", "api-speed", "-m", "pets/3", "-d", "a.jpg",
                "--benchmark_requests", "3", "--warm_up_requests", "0", "--max_error_rate", "0",
            ],
        }[command]  # fmt: skip
        done = command_line.run(
            *arguments, "--host", server.url, *option, cwd=folder, env=ENVIRONMENT,
            stdin="" if way == "file" else f"{KEY}\n",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert KEY not in done.stdout + done.stderr


def test_serve_takes_a_key_file_too(key_file: Path, command_line: CommandLine) -> None:
    """`serve` takes a key from a file, as the other commands do."""
    with command_line.start(
        *("serve", "--port", "0", "--api-key-file", str(key_file)),
        stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert "http://127.0.0.1:" in process.stderr.readline()
        process.terminate()


def test_key_given_in_two_ways_is_refused(key_file: Path, command_line: CommandLine) -> None:
    """A key that is given in two ways at once is refused."""
    with pytest.raises(ConfigurationError, match="not both"):
        read_key(KEY, str(key_file))
    done = command_line.run(
        "run", "-", "--model", "a/1", "--api-key-file", "-", cwd=key_file.parent, env=ENVIRONMENT,
        stdin=KEY,
    )  # fmt: skip
    assert (done.returncode, "read from there already" in done.stderr) == (1, True)
    assert KEY not in json.dumps([done.stdout, done.stderr])


@pytest.mark.parametrize("command", [["run"], ["doctor"], ["benchmark", "api-speed"], ["serve"]])
def test_the_help_says_which_is_safe(
    command: list[str], command_line: CommandLine, tmp_path: Path
) -> None:
    printed = command_line.run(*command, "--help", cwd=tmp_path).stdout
    said = " ".join(printed.replace("│", " ").split())
    assert "--api-key-file" in said
    assert "Not safe" in said
