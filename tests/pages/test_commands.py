"""What pages tell readers to type is there. (Our own commands run: `test_examples.py`.)"""

import re
import shlex
import tomllib
from typing import Any

import pytest
from support.pages import OUR_COMMANDS, ROOT, commands, pages

PROJECT: Any = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGES = [*pages(), "CONTRIBUTING.md"]
ELSEWHERE = {
    *(".", "export", "git", "python", "python3", "INFERENCE_SERVER_URL=http://127.0.0.1:9001"),
    *(".venv/bin/pre-commit", ".venv/bin/python", "tests/support/inference_server/run"),
}


@pytest.mark.parametrize("page", PAGES)
def test_pages_tell_to_type_what_there_is(page: str) -> None:
    """Extras and targets of make exist, and nothing else is typed than what is known here."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for command in commands(block):
            words = shlex.split(command)
            if any(words[: len(ours)] == ours for ours in OUR_COMMANDS):
                continue
            if words[0] == "make":
                makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
                assert all(re.search(rf"^{word}:", makefile, re.MULTILINE) for word in words[1:])
            elif words[:2] == ["pip", "install"]:
                assert len(words) == 3, command
            else:
                assert words[0] in ELSEWHERE, command
    for extras in re.findall(r"(?:roboflow-async|\.)\[([\w,-]+)\]", text):
        assert set(extras.split(",")) <= PROJECT["optional-dependencies"].keys(), extras


def test_the_start_page_lists_each_extra() -> None:
    page = (ROOT / "docs/start.md").read_text(encoding="utf-8").partition("## The extras")[2]
    rows = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    named = set(re.findall(r"`([\w-]+)`", "\n".join(rows)))
    assert named == PROJECT["optional-dependencies"].keys()
