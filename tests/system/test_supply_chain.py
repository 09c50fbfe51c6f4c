"""What the Makefile and the workflows install is what the locks say, to the bit."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
PROJECT: Any = tomllib.loads((ROOT / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def locked(lock: Path) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a lock, and its hashes."""
    text = lock.read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = []
    for line in lines:
        requirement, *hashes = line.split("--hash=")
        found.append((Requirement(requirement), [one.strip() for one in hashes]))
    return found


def test_locks_are_there_for_each_kind_of_install() -> None:
    """There is a lock for each that is installed."""
    kinds = {"audit", "bench", "demo", "dev", "docs", "inference-sdk", "release"}
    assert {lock.stem for lock in LOCKS} == kinds


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_has_one_version_and_hashes_of_each(lock: Path) -> None:
    """A lock has one version and its hashes, and no place to fetch from."""
    for requirement, hashes in locked(lock):
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement
    assert "://" not in lock.read_text()
    assert "index" not in lock.read_text().replace("indexed", "")


def wanted() -> list[str]:
    extras: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    named = [one for name, several in extras.items() if name != "all" for one in several]
    return [*PROJECT["project"]["dependencies"], *named, *PROJECT["dependency-groups"]["dev"]]


PYTHONS = [
    classifier.rpartition(" ")[2]
    for classifier in PROJECT["project"]["classifiers"]
    if re.search(r":: 3\.\d+$", classifier)
]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_all_that_the_project_wants(python: str) -> None:
    """The lock has all that the project wants, for every Python.

    After a change of pyproject.toml: `make lock`.
    """
    place = {"python_version": python, "python_full_version": f"{python}.9"}
    versions = {
        canonicalize_name(requirement.name): str(requirement.specifier)[2:]
        for requirement, _ in locked(ROOT / "requirements" / "dev.txt")
        if requirement.marker is None or requirement.marker.evaluate(place)
    }
    for text in wanted():
        requirement = Requirement(text)
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), text


def test_installs_are_from_a_lock_alone() -> None:
    """Nothing is installed but from a lock."""
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes" in makefile
    files = [ROOT / "Makefile", ROOT / ".ci" / "run", *WORKFLOWS]
    for file in files:
        for line in file.read_text().splitlines():
            if re.search(r"\bpip\S* install\b|\buvx?\s|pipx", line) and "bin/uv" not in line:
                assert "--require-hashes" in line or "--no-index" in line, f"{file.name}: {line}"


def test_actions_are_pinned_and_may_do_no_more_than_needed() -> None:
    """Actions are pinned to a commit, and may do no more than they must."""
    assert WORKFLOWS
    for file in WORKFLOWS:
        text = file.read_text()
        for used in re.findall(r"uses: *(\S+.*)", text):
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[0-9.]+", used), file
        assert "\npermissions: {}\n" in text
        assert text.count("persist-credentials: false") == text.count("actions/checkout@")
        # What others may write, such as the title of a pull request, is in no script.
        assert not re.search(r"pull_request_target|github\.(event|head_ref)", text)


def test_checks_run_on_three_systems_with_each_python() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert f"python: {json.dumps(PYTHONS)}" in text
    assert re.search(r"os: \[ubuntu-\S+, macos-\S+, windows-\S+\]", text)


def test_release_is_checked_and_no_password_publishes_it() -> None:
    """Only the job that publishes may say who it is, after all others, in an environment."""
    text = (ROOT / ".github" / "workflows" / "release.yml").read_text()
    before, _, publish = text.partition("\n  publish:\n")
    assert "needs: [check, build]" in publish
    assert "environment:" in publish
    assert "attestations: true" in publish
    assert "id-token: write" in publish
    assert "write" not in re.sub(r"#.*", "", before)
    assert "run:" not in publish
    # What is published is what was tried with each Python, with what it is made of, and its pages.
    assert "make release-check CHECK='--all-pythons --keep dist'" in before
    assert re.findall(r"(?m)^ {12}(3\.\d+)$", before) == PYTHONS
    assert "sbom-path:" in publish
    assert "actions/deploy-pages@" in publish
    assert not re.search(r"secrets\.|password:", text)


def test_bots_look_every_week() -> None:
    dependabot = (ROOT / ".github" / "dependabot.yml").read_text()
    assert dependabot.count("interval: weekly") == dependabot.count("package-ecosystem:") == 2
    for name in ("audit", "lock"):
        text = (ROOT / ".github" / "workflows" / f"{name}.yml").read_text()
        assert re.search(r'cron: "\d+ \d+ \* \* [0-7]"', text)
    assert "pip-audit" in (ROOT / "Makefile").read_text()
    assert "zizmor" in (ROOT / "Makefile").read_text()
