"""What is imported from the package stays as it was, or the changelog tells of it."""

import pytest
from support.public_names import LIST, ROOT, public_names, untold

OLD = """
# roboflow_async
class Workflow:
    async def run(self, image: bytes, *, timeout: float = 10.0) -> dict: ...
    def stream(self, images: list) -> list: ...
    name: str
class RetryPolicy:
    def __init__(self, *, base: float = 0.5) -> None: ...
def open_image(image: bytes) -> object: ...

# roboflow_async.types
class Point:
    x: float
"""


@pytest.fixture(scope="module")
def found() -> str:
    return public_names()


def changed(old: str, new: str) -> str:
    assert old in OLD
    return OLD.replace(old, new)


def test_public_names_changed_since_the_release_are_told(found: str) -> None:
    """What vanished, changed or came since the last release has its line in CHANGELOG.md.

    The last release is the list that `make names` wrote.
    """
    listed = LIST.read_text(encoding="utf-8")
    since = listed.split()[2].rstrip(",")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{since}] - " in changelog
    assert untold(listed, found, changelog, since) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    def stream(self, images: list) -> list: ...\n", "", "`stream`"),
        ("    name: str\n", "", "`name`"),
        ("def open_image(image: bytes) -> object: ...\n", "", "`open_image`"),
        ("open_image(image: bytes)", "open_image(picture: bytes = b'')", "`open_image`, `image`"),
        ("open_image(image: bytes)", "open_image(image: bytes, side: int)", "`open_image`, `side`"),
        ("timeout: float = 10.0", "timeout: float = 5.0", "`run`, `timeout`"),
        ("timeout: float = 10.0", "timeout: float", "`run`, `timeout`"),
        ("base: float = 0.5", "base: float = 1", "`RetryPolicy`, `base`"),
        ("    x: float\n", "    y: float\n", "`x`"),
        ("# roboflow_async.types\nclass Point:\n    x: float\n", "", "`roboflow_async.types`"),
        ("class Point:", "class Box:\n    side: float\nclass Point:", "`Box`"),
    ],
)
def test_a_change_of_a_name_needs_a_line(old: str, new: str, words: str) -> None:
    (line,) = untold(OLD, changed(old, new), "## [Unreleased]\n\n## [1.0.0] - 2030-01-31", "1.0.0")
    assert f"(a line of CHANGELOG.md needs: {words})" in line
    entry = f"- Something about {words} and more.\n"
    assert untold(OLD, changed(old, new), f"## [Unreleased]\n\n{entry}\n## [1.0.0]", "1.0.0") == []
    # A line of the release itself is older, and words of two lines are not one.
    assert untold(OLD, changed(old, new), f"## [Unreleased]\n\n## [1.0.0]\n\n{entry}", "1.0.0")
    if ", " in words:
        apart = "\n".join(f"- {word} is another matter." for word in words.split(", "))
        assert untold(OLD, changed(old, new), f"## [Unreleased]\n\n{apart}\n", "1.0.0")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("timeout: float = 10.0", "timeout: float = 10.0, priority: str = 'bulk'"),
        ("    name: str\n", "    name: str\n    title: str\n"),
        ("image: bytes) -> object", "image: bytes | str) -> object"),
        ("class RetryPolicy:", "class RetryPolicy(Base):"),
    ],
)
def test_what_breaks_no_program_needs_no_line(old: str, new: str) -> None:
    assert untold(OLD, changed(old, new), "", "1.0.0") == []


def test_public_names_are_found_wherever_they_are_written(found: str) -> None:
    """Aliases, private bases, parts of a client, dataclasses and late names are all followed."""
    lines = found.splitlines()
    for start in (
        "# roboflow_async.fastapi",
        "class RoboflowClient:",
        "    class batch:",
        "        async def submit(self, workflow: ",
        "    async def infer(self, inference_input: Any, model_id: str, **options: ",
        "    def __init__(self, *, max_attempts: int = 6, ",
        "    def stream(self, images: ",
        "class BatchJob:",
        "RoboflowError = roboflow_async.RoboflowError",
    ):
        assert any(line.startswith(start) for line in lines), start
    members = [line.split("def ")[-1].strip() for line in lines]
    assert not [one for one in members if one.startswith("_") and not one.startswith("__init__(")]
