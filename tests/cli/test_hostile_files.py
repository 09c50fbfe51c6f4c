"""What strangers name, and what they put in our way in a shared folder, decides no path."""

import base64
import csv
import json
import os
import stat
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.command_line import CommandLine

from roboflow_async import ConfigurationError
from roboflow_async.cli.files import open_journal, read_small, write_below, written_whole
from roboflow_async.cli.run.file_names import safe_name
from roboflow_async.cli.run.job import write_failures
from roboflow_async.cli.run.journal import Journal, json_line
from roboflow_async.cli.run.pictures import ItemNames, save_pictures
from roboflow_async.cli.run.tables import write_table
from roboflow_async.testing import StandInServer, draw_scene

PICTURE = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(100)).decode()

HOSTILE = [
    "x/../../../evil", "../evil", "..", ".", "", "/etc/passwd", "C:\\evil", "..\\..\\evil", "a\0b",
    "CON", "nul.txt", "com1", "LPT¹", "con .x", "a" * 5000, "ä" * 3000, "\udcff\udc9b",
    "\x1b]0;x\x07", "\u202egpj", "a\nb", "trailing. ", "...", "~", "-rf", "a:b", "x/" * 500 + "y",
    "$(id)", "%2e%2e/x",
]  # fmt: skip


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if not path.is_dir())


# Pictures


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize(
    "item", ["data/a.jpg", "/abs/a.jpg", "../a.jpg", "https://h.example/a.jpg"]
)
def test_an_outputs_name_decides_no_path(tmp_path: Path, name: str, item: str) -> None:
    folder = tmp_path / "deep" / "er" / "pictures"
    output = {name: PICTURE, "list": [PICTURE, {name: PICTURE}]}
    saved = save_pictures(output, item, folder)
    written = files_in(tmp_path)
    assert len(written) == 3
    assert {saved[name], saved["list"][0], saved["list"][1][name]} == {str(one) for one in written}
    for path in written:
        assert path.resolve().is_relative_to(folder.resolve())
        assert path.suffix == ".jpg"
        assert len(path.name.encode()) <= 255
        assert path.name.isprintable()
        assert mode(path) == 0o600


@pytest.mark.parametrize("item", [*HOSTILE, "https://[", "https://h/../../x", "http://h/?/../.."])
def test_an_images_path_or_url_leads_out_of_no_folder(tmp_path: Path, item: str) -> None:
    folder = tmp_path / "deep" / "er" / "pictures"
    save_pictures({"out": PICTURE}, item, folder)
    (path,) = files_in(tmp_path)
    assert path.resolve().is_relative_to(folder.resolve())


def test_names_that_become_the_same_are_told_apart(tmp_path: Path) -> None:
    items = ["a/x.jpg", "A/X.jpg", "a/x?.jpg", "a/x*.jpg", "/b.jpg", "b.jpg", "c.jpg"]
    names = ItemNames(items)
    saved = [save_pictures({"out": PICTURE}, item, tmp_path, names)["out"] for item in items]
    assert len({path.casefold() for path in saved}) == len(items)
    assert saved[-1] == str(tmp_path / "c.jpg.out.jpg")
    # Whatever came first: the same again after a restart.
    again = ItemNames(reversed(items))
    for item, path in zip(items, saved, strict=True):
        assert save_pictures({"out": PICTURE}, item, tmp_path, again)["out"] == path
    outputs = save_pictures(
        {"a/b": PICTURE, "a_b": PICTURE, "A_B": PICTURE, "a": {"0": PICTURE}, "a.0": PICTURE},
        "one.jpg", tmp_path / "one",
    )  # fmt: skip
    assert len(files_in(tmp_path / "one")) == len(outputs) == 5


@pytest.mark.parametrize(
    ("data", "suffix"),
    [
        (b"\xff\xd8\xff", ".jpg"),
        (b"\x89PNG\r\n\x1a\n", ".png"),
        (b"GIF89a", ".gif"),
        (b"RIFF1234WEBP", ".webp"),
        (b"\xff\xd8", None),
        (b"\x89P", None),
        (b"GI", None),
        (b"RIFF1234WAVE", None),
        (b"#!/bin/sh\n", None),
        (b"<script>", None),
    ],
)
def test_only_what_begins_as_an_image_does_is_written(
    tmp_path: Path, data: bytes, suffix: str | None
) -> None:
    save_pictures({"out": base64.b64encode(data + bytes(100)).decode()}, "a.jpg", tmp_path)
    assert [path.suffix for path in files_in(tmp_path)] == ([suffix] if suffix else [])


def test_a_link_among_the_pictures_is_not_followed(tmp_path: Path) -> None:
    folder, outside = tmp_path / "pictures", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "data").symlink_to(outside)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        save_pictures({"out": PICTURE}, "data/a.jpg", folder)
    assert files_in(outside) == []
    (outside / "mine").write_text("precious")
    (folder / "a.jpg.out.jpg").symlink_to(outside / "mine")
    save_pictures({"out": PICTURE}, "a.jpg", folder)
    assert (outside / "mine").read_text() == "precious"
    assert not (folder / "a.jpg.out.jpg").is_symlink()
    # The folder itself is what the user says.
    (tmp_path / "link").symlink_to(folder)
    saved = save_pictures({"out": PICTURE}, "b.jpg", tmp_path / "link")
    assert Path(saved["out"]).read_bytes().startswith(b"\xff\xd8")


@pytest.mark.parametrize("parts", [[".."], ["a", ".."], ["a/b"], [""], ["."], ["/etc"], ["a\0"]])
def test_a_part_that_is_no_name_is_refused(tmp_path: Path, parts: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="is not below"):
        write_below(tmp_path, parts, b"")


@given(st.text())
def test_safe_name_makes_a_name_of_any_text(text: str) -> None:
    """Any text makes a name."""
    name = safe_name(text)
    assert 0 < len(name.encode()) <= 200
    assert name not in (".", "..")
    assert not set(name) & set('/\\\0:*?"<>|')
    assert not any(unicodedata.category(one) in ("Cc", "Cf", "Cs") for one in name)


# The journal and what lies beside it


def test_files_with_customers_data_are_for_their_owner(tmp_path: Path) -> None:
    """What may hold customers' data is for its owner alone."""
    for mask, expected in ((0o022, 0o600), (0o000, 0o600), (0o277, 0o400)):
        folder = tmp_path / oct(mask)
        folder.mkdir()
        with umask(mask), Journal(folder / "a.jsonl", {}) as journal:
            journal.write({"image": "a", "output": {}})
            journal.write({"image": "b", "error": {"type": "t", "message": "m"}})
            assert write_failures(journal) is not None
            write_table(journal.lines(), folder / "a.csv", "csv")
            write_table(journal.lines(), folder / "a.parquet", "parquet")
        names = {path.name: mode(path) for path in files_in(folder)}
        assert names == dict.fromkeys(
            ["a.csv", "a.failures.jsonl", "a.jsonl", "a.jsonl.run.json", "a.parquet"], expected
        )


@pytest.mark.skipif(os.name != "posix", reason="hard links and owners are POSIX's here")
def test_a_journal_that_has_another_name_too_is_refused(tmp_path: Path) -> None:
    """Who made the other name beforehand would read all results there."""
    (tmp_path / "theirs").write_bytes(b"")
    os.link(tmp_path / "theirs", tmp_path / "results.jsonl")
    with pytest.raises(ConfigurationError, match="hard link"):
        open_journal(tmp_path / "results.jsonl")
    assert (tmp_path / "theirs").read_bytes() == b""


def test_links_where_we_write_are_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    folder = tmp_path / "shared"
    folder.mkdir()
    for name in ("a.csv", "a.failures.jsonl", "a.csv.new", "a.jsonl.new"):
        (folder / name).symlink_to(target)
    with Journal(folder / "a.jsonl", {}) as journal:
        journal.write({"image": "a", "error": {"type": "t", "message": "m"}})
        journal.write({"image": "b", "output": {}})
        write_failures(journal)
        write_table(journal.lines(), folder / "a.csv", "csv")
    with Journal(folder / "a.jsonl", {}, retry_failed=True) as journal:
        assert journal.done == {"b"}
    assert target.read_text() == "precious"
    assert not (folder / "a.csv").is_symlink()
    assert not (folder / "a.failures.jsonl").is_symlink()
    assert mode(folder / "a.jsonl") == 0o600


def make_device(path: Path) -> None:
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    except OSError:
        pytest.skip("needs the right to make a device")


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.run.json"])
@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to(path.with_name("target")),
        lambda path: path.symlink_to(path.with_name("nothing")),
        os.mkfifo,
        make_device,
        lambda path: path.mkdir(),
    ],
    ids=["link", "dangling link", "fifo", "device", "folder"],
)  # fmt: skip
def test_journal_of_what_is_no_file_is_refused_at_once(
    tmp_path: Path, name: str, make: Any
) -> None:
    """A journal that is no file is refused at once."""
    (tmp_path / "target").write_text("precious")
    make(tmp_path / name)
    with pytest.raises(ConfigurationError, match=name):
        Journal(tmp_path / "a.jsonl", {}).__enter__()
    assert (tmp_path / "target").read_text() == "precious"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"\0\xff\x80", b"[]", b"null", b"1", b'"x"', b"[" * 100_000, b"9" * 10_000,
        b"{}" + bytes(5 * 1024 * 1024), "\ufeff{}".encode("utf-16"),
    ],
    ids=["empty", "cut", "binary", "list", "null", "number", "text", "deep", "digits",
          "huge", "utf-16"],
)  # fmt: skip
def test_a_damaged_run_file_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl.run.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"a\.jsonl\.run\.json") as raised:
        Journal(tmp_path / "a.jsonl", {"a": 1}).__enter__()
    assert "\n" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("before")
    with pytest.raises(ZeroDivisionError), written_whole(path) as file:
        file.write(b"half")
        assert 1 / 0
    assert [path.read_text() for path in files_in(tmp_path)] == ["before"]
    assert read_small(tmp_path / "nothing", 10) is None


def test_a_line_holds_nothing_that_a_terminal_obeys(tmp_path: Path) -> None:
    """A line holds every name, and nothing that a terminal obeys."""
    names = [
        "\udcff.jpg",
        "\udc9b31m.jpg",
        "a\x9bb",
        "\u202egpj",
        "a\u2028b",
        "a\x1b[2Jb",
        "日本👍",
    ]
    with Journal(tmp_path / "a.jsonl", {}) as journal:
        for name in names:
            journal.write({"image": name, "output": {name: name}})
        assert [line["image"] for line in journal.lines()] == names
    with Journal(tmp_path / "a.jsonl", {}) as journal:
        assert journal.done == set(names)
    text = (tmp_path / "a.jsonl").read_text("utf-8")
    assert text.replace("\n", "").isprintable()
    assert len(text.splitlines()) == len(names)
    assert "日本👍" in text
    with pytest.raises(ValueError, match="JSON"):
        json_line({"image": "a", "output": float("inf")})


# Tables


@pytest.mark.parametrize(
    "sign",
    [
        "=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\0=", "\ufeff=", "\u3000=", "|", "%",
        *"\uff1d\uff0b\uff0d\uff20",  # wide
        *"\ufe62\ufe63\ufe66\ufe6b",  # small
        *"\u207a\u207b\u207c\u208a\u208b\u208c",  # raised and lowered
        "\u2212", "\uff5c", "\uff05",
    ],
)  # fmt: skip
def test_no_cell_runs_as_a_formula(tmp_path: Path, sign: str) -> None:
    cell = f"{sign}cmd|' /C calc'!A0"
    lines: list[dict[str, Any]] = [
        {"image": cell, "output": {cell: cell, "number": -5, "list": [cell]}},
        {"image": "b", "error": {"type": cell, "message": cell}},
    ]
    write_table(lines, tmp_path / "a.csv", "csv")
    with (tmp_path / "a.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for row in rows:
        for text in row:
            first = unicodedata.normalize("NFKC", text.lstrip()[:1])
            assert text == "-5" or not first or first not in "=+-@\u2212|%", text
            assert not any(unicodedata.category(one) in ("Cc", "Cf") for one in text if one != "\n")
    assert rows[1][0].startswith("'")
    assert rows[1].count("-5") == 1
    write_table(lines[:1], tmp_path / "a.csv", "csv", formulas=True)
    assert "'=" not in (tmp_path / "a.csv").read_text().splitlines()[1]


@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_a_table_takes_what_a_server_may_send(tmp_path: Path, name: str) -> None:
    lines: list[dict[str, Any]] = [
        {
            "image": "\udcff",
            "output": {"\udcff": "\udcff", "n": 10**400, "x": "\x1b]0;t\x07\x9b\u202e"},
        },
        {"image": "b", "output": {"n": 1, "x": [], "y": {}}},
        {"image": "c", "output": {"n": 0.5}},
    ]
    write_table(lines, tmp_path / "a", name)
    assert (tmp_path / "a").stat().st_size


# All of it, as a user sees it


def test_a_run_with_names_from_outside(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    jpeg = draw_scene(1).jpeg
    names = [
        b"a\x9b31m.jpg",
        b"\xff.jpg",
        b"=1+1.jpg",
        b"\x1b]0;x\x07.jpg",
        b"[red].jpg",
        b"[x].jpg",
    ]
    for name in names:
        (tmp_path / "data" / os.fsdecode(name)).write_bytes(jpeg)
    (tmp_path / "data" / os.fsdecode(b"\x1b[2J\xffbad.jpg")).write_bytes(b"no image")
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        done = command_line.run(
            "run", "data", "--model", "pets/3", "--host", server.url, "--rps", "0",
            "--format", "csv", "--save-images", "[red]pictures", "-o", "[red]\x1b[2J.csv",
            cwd=tmp_path, env=os.environ | {"ROBOFLOW_API_KEY": "any"},
        )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr
    assert (done.stdout + done.stderr).replace("\n", "").isprintable()
    written = (tmp_path / "[red]\x1b[2J.csv.jsonl").read_text("utf-8").splitlines()
    assert len({json.loads(line)["image"] for line in written}) == len(written) == 7
    assert len(files_in(tmp_path / "[red]pictures")) == 6


def test_stdin_gives_names_that_are_no_utf_8(command_line: CommandLine, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.jpg")).write_bytes(draw_scene(1).jpeg)
    with StandInServer(requests_per_second=None, latency=0.0) as server:
        command = ["run", "-", "--model", "pets/3", "--host", server.url]
        given: dict[str, Any] = {
            "cwd": tmp_path, "env": os.environ | {"ROBOFLOW_API_KEY": "any"},
        }  # fmt: skip
        done = command_line.run(*command, stdin=b"\xff.jpg\n", **given)
        assert done.returncode == 0, done.stderr
        endless = command_line.run(*command, "-o", "b.jsonl", stdin=b"x" * 200_000, **given)
    assert (endless.returncode, b"more than 65536 characters" in endless.stderr) == (1, True)


class Infinite(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        content = b'{"outputs": [{"number": 1e999}]}'
        self.send_response_only(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


def test_a_number_json_has_no_word_for_fails_its_image(
    command_line: CommandLine, tmp_path: Path
) -> None:
    """A number that JSON has no word for is a failure of its image."""
    (tmp_path / "a.jpg").write_bytes(draw_scene(1).jpeg)
    with ThreadingHTTPServer(("127.0.0.1", 0), Infinite) as server:
        Thread(target=server.serve_forever, args=(0.02,)).start()
        done = command_line.run(
            "run", "a.jpg", "--workflow", "ws/wf", "--host",
            f"http://127.0.0.1:{server.server_port}", cwd=tmp_path,
        )  # fmt: skip
        server.shutdown()
    assert done.returncode == 4, done.stderr
    (line,) = (tmp_path / "results.jsonl").read_text().splitlines()
    assert "Infinity" not in line
    assert json.loads(line)["error"]["type"] == "ResponseError"
