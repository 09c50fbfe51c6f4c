"""Builds what a release would publish, and tries it where the repository is not.

    make release-check
    python tests/release/check.py [--quick] [--only metadata,install,lowest,types] [--keep FOLDER]

- `metadata`: the sdist, and the wheel that is built from it; what PyPI, pip and a reader see.
- `install`: fresh environments of each Python that the project names and this machine has, with the
  newest of everything: the wheel without and with all extras, and the sdist. In each runs
  `smoke.py`, and with the extras the demo.
- `lowest`: the same, and most of the tests, with the lowest versions that pyproject.toml names.
- `types`: what pyright, mypy and ty make of the installed package.

Each command is shown before it runs, and at the end what was checked, with which versions.

`--quick`: the metadata, and the wheel with the Python that runs this and the versions of the lock.
A Python that is missing is said, and with `--all-pythons` it is an error. All is installed in a
folder that is removed at the end: the newest from the package index, as users get it, so run it
where no secrets are.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
SMOKE: Final = Path(__file__).with_name("smoke.py")
BIN: Final = Path(sys.executable).parent
PROJECT: Final[Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: Final = [one for one in PROJECT["project"]["optional-dependencies"] if one != "all"]
PYTHONS: Final = [
    classifier.rpartition(" ")[2]
    for classifier in PROJECT["project"]["classifiers"]
    if re.search(r":: 3\.\d+$", classifier)
]
CHECKS: Final = ("metadata", "install", "lowest", "types")
# What these tests need beside the package: the newest of each.
TOOLS: Final = (
    "httpx2",
    "hypothesis",
    "jsonschema",
    "lupa",
    "opencv-python-headless",
    "psutil",
    "pytest",
    "pytest-xdist",
    "requests",
    "trustme",
)
CORE: Final = (
    "tests/client",
    "tests/engine",
    "tests/platform",
    "tests/targets",
    "tests/types",
    "tests/video",
)
# What lowest versions cannot, and need not.
NOT_WITH_THE_LOWEST: Final = (
    "test_pillows_own_limit",  # of GIFs; none is that large
    "AVIF",  # Pillow reads it from 11.3 on
    "test_sniffio_is_left_alone",  # by us; older anyio imports it
    "answers_to_nobody_elses_name",  # runs with -W error, and old typer uses what click deprecated
    "for_this_machine_unless",  # the same
)


class Check:
    """One run: where it builds and installs, and what it found."""

    def __init__(self, folder: Path, *, all_pythons: bool) -> None:
        self.folder = folder
        self.dist = folder / "dist"
        self.all_pythons = all_pythons
        self.missing: list[str] = []
        self.checked: list[str] = []

    def build(self) -> None:
        """The sdist from the repository, and the wheel from the sdist, as pip would make it."""
        self.run(BIN / "python", "-m", "build", "--no-isolation", "--outdir", self.dist, ROOT)

    @property
    def wheel(self) -> Path:
        (found,) = self.dist.glob("*.whl")
        return found

    @property
    def sdist(self) -> Path:
        (found,) = self.dist.glob("*.tar.gz")
        return found

    def metadata(self) -> None:
        self.run(BIN / "twine", "check", "--strict", self.wheel, self.sdist)
        self.run(BIN / "validate-pyproject", ROOT / "pyproject.toml")
        self.run(BIN / "check-wheel-contents", self.wheel)
        version = PROJECT["project"]["version"]
        assert f"-{version}-" in self.wheel.name
        assert f"-{version}.tar" in self.sdist.name
        with zipfile.ZipFile(self.wheel) as wheel:
            (name,) = [one for one in wheel.namelist() if one.endswith(".dist-info/METADATA")]
            readme = wheel.read(name).decode()
        links = re.findall(r"\]\(([^)]+)\)", readme)
        astray = [link for link in links if not re.match(r"https?://|#", link)]
        assert links, "the README has no links"
        assert not astray, f"on PyPI these links of the README lead nowhere: {astray}"
        changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
        newest = re.findall(r"(?m)^## \[(\d\S*)\] - (\d{4}-\d\d-\d\d)$", changelog)[0]
        assert newest[0] == version, f"the newest version of CHANGELOG.md is {newest[0]}"
        self.checked.append(f"metadata of {self.wheel.name} and {self.sdist.name}")

    def install(self, pythons: Sequence[str]) -> None:
        for python in pythons:
            found = find(python)
            if found is None:
                self.missing.append(python)
                continue
            self.try_out(self.environment(found, f"{self.wheel}"), extras=False)
            environment = self.environment(found, f"{self.wheel}[all]")
            self.try_out(environment, extras=True)
            shutil.rmtree(environment)  # half a gigabyte each
            self.try_out(self.environment(found, f"{self.sdist}"), extras=False)
            self.checked.append(f"install on Python {python}: wheel, wheel with extras, sdist")

    def quick(self) -> None:
        # With the versions of the lock: what somebody else published today is no fault of a change.
        locked = ("--constraint", f"{ROOT / 'requirements' / 'dev.txt'}")
        python = Path(sys.executable)
        self.try_out(self.environment(python, f"{self.wheel}", *locked), extras=False)
        self.demo(self.environment(python, f"{self.wheel}[cli,testing]", *locked))
        self.checked.append("install, quick: wheel, and the demo, with the versions of the lock")

    def lowest(self) -> None:
        python = find(PYTHONS[0])
        if python is None:
            self.missing.append(PYTHONS[0])
            return
        lowest = self.folder / "lowest.txt"
        extras = [word for extra in EXTRAS for word in ("--extra", extra)]
        self.uv(
            *("pip", "compile", ROOT / "pyproject.toml", *extras, "--resolution", "lowest-direct"),
            *("--python", python, "--no-annotate", "--no-header", "--output-file", lowest),
        )
        environment = self.environment(python, "--requirement", f"{lowest}")
        self.uv("pip", "install", "--python", inside(environment), "--no-deps", self.wheel)
        self.try_out(environment, extras=True)
        # The tests, and not the package that lies beside them.
        checkout = self.folder / "checkout"
        compiled = shutil.ignore_patterns("__pyc*")
        for name in ("tests", "benchmarks", "docs", "examples"):
            shutil.copytree(ROOT / name, checkout / name, ignore=compiled)
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, checkout / name)
        self.uv(
            *("pip", "install", "--python", inside(environment)),
            *("--requirement", lowest, *TOOLS),
        )
        # Old versions of one library warn of new ones of another: that is not ours to mend.
        told = self.run(
            *(inside(environment), "-m", "pytest", "-q", "--numprocesses", "2", *CORE),
            *("-k", f"not ({' or '.join(NOT_WITH_THE_LOWEST)})"),
            *("-p", "no:cacheprovider", "--override-ini", "filterwarnings=default"),
            cwd=checkout,
        )
        self.checked.append(f"lowest: {told.splitlines()[-1].strip(' =')}, with {pinned(lowest)}")

    def types(self) -> None:
        """`py.typed` says that type checkers may believe the installed package: do they?"""
        python = find(PYTHONS[0]) or Path(sys.executable)
        # What users bring themselves, whose types ours are made of, and the readers.
        needed = [f"{self.wheel}[all]", "httpx2", "opentelemetry-instrumentation"]
        needed += ["mypy", "pyright[nodejs]", "ty"]
        environment = self.environment(python, *needed)
        usage = self.folder / "usage.py"
        shutil.copy(ROOT / "tests" / "typing" / "usage.py", usage)
        scripts, python = inside(environment).parent, inside(environment)
        settings = self.folder / "pyrightconfig.json"
        settings.write_text('{"typeCheckingMode": "strict", "include": ["usage.py"]}')
        self.run(scripts / "pyright", "--pythonpath", python, cwd=self.folder)
        self.run(
            *(python, "-m", "mypy", "--strict", "--follow-imports", "silent"),
            *("--config-file", os.devnull, "--cache-dir", os.devnull, usage),
            cwd=self.folder,
        )
        self.run(scripts / "ty", "check", "--python", python, usage, cwd=self.folder)
        self.complete(scripts)

    def complete(self, scripts: Path) -> None:
        """Every type that a user meets is known, and told by an annotation."""
        # Here, `--pythonpath` is not read.
        found = os.pathsep.join((str(scripts), os.environ["PATH"]))
        words = [scripts / "pyright", "--verifytypes", "roboflow_async", "--ignoreexternal"]
        told = subprocess.run(
            [*words, "--outputjson"], cwd=self.folder, env={**os.environ, "PATH": found},
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        report = json.loads(told)["typeCompleteness"]
        assert report["exportedSymbolCounts"]["withKnownType"] > 1000, told[:2000]
        unknown = [
            f"{symbol['name']}: {one['message']}"
            for symbol in report["symbols"]
            if symbol["isExported"] and not symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
            for one in symbol["diagnostics"]
        ]
        assert not report["exportedSymbolCounts"]["withUnknownType"], "\n".join(unknown)
        guessed = [
            symbol["name"]
            for symbol in report["symbols"]
            if symbol["isExported"] and not symbol["name"].startswith("roboflow_async.cli.")
            for one in symbol["diagnostics"]
            if "missing type annotation" in one["message"]
        ]
        assert not guessed, f"these need an annotation: {', '.join(guessed)}"
        known = report["exportedSymbolCounts"]["withKnownType"]
        self.checked.append(f"types: pyright, mypy, ty; all of {known} exported types are known")

    def sbom(self) -> None:
        """All that the wheel brings with it today, with every extra, as CycloneDX."""
        environment = self.environment(Path(sys.executable), f"{self.wheel}[all]")
        self.run(
            *(BIN / "cyclonedx-py", "environment", "--pyproject", ROOT / "pyproject.toml"),
            *("--output-reproducible", "--output-file", self.dist / "sbom.cdx.json"),
            inside(environment),
        )

    # What these are made of.

    def environment(self, python: Path, *requirements: str) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="environment-", dir=self.folder))
        self.uv("venv", "--python", python, folder, "--clear")
        self.uv("pip", "install", "--python", inside(folder), *requirements)
        self.uv("pip", "check", "--python", inside(folder))
        return folder

    def try_out(self, environment: Path, *, extras: bool) -> None:
        self.run(inside(environment), "-I", SMOKE, *(["--extras"] if extras else []))
        if extras:
            self.demo(environment)

    def demo(self, environment: Path) -> None:
        output = self.folder / "demo.jpg"
        self.run(
            *(inside(environment), "-I", "-m", "roboflow_async", "demo"),
            *("--images", "20", "--no-compare", "--output", output),
        )
        assert output.read_bytes().startswith(b"\xff\xd8")

    def uv(self, *arguments: object) -> None:
        self.run(BIN / "uv", *arguments, quiet=True)

    def run(self, *command: object, cwd: Path | None = None, quiet: bool = False) -> str:
        """Run it, show it and what it printed, and return that; the end of all if it fails."""
        words = [str(word) for word in command]
        print(
            "$", " ".join(words).replace(f"{self.folder}", "…").replace(f"{ROOT}/", ""), flush=True
        )
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(
            words, cwd=cwd or self.folder, env=environment, check=False, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        if done.returncode or not quiet:
            print("\n".join(done.stdout.strip().splitlines()[-60:]), flush=True)
        if done.returncode:
            raise SystemExit(f"this ended with {done.returncode}: {' '.join(words)}")
        return done.stdout


def pinned(lock: Path) -> str:
    """The versions there of what pyproject.toml names: `httpx 0.28.0, …`."""
    extras = PROJECT["project"]["optional-dependencies"].values()
    named = {
        re.split(r"[^\w.-]", requirement)[0]
        for requirement in sum(extras, PROJECT["project"]["dependencies"])
    }
    lines = [line.partition(" ")[0].split("==") for line in lock.read_text().splitlines()]
    return ", ".join(" ".join(words) for words in lines if words[0] in named)


def inside(environment: Path) -> Path:
    """The environment's Python."""
    windows = environment / "Scripts" / "python.exe"
    return windows if windows.exists() else environment / "bin" / "python"


def find(version: str) -> Path | None:
    """A Python of this version on this machine: on the PATH, of pyenv, or of uv."""
    for path in candidates(version):
        ask = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        try:
            done = subprocess.run(ask, capture_output=True, text=True, check=False)
        except OSError:
            continue
        # pyenv's shims are there for Pythons that are not chosen, and fail.
        if done.stdout.strip() == version:
            return path
    return None


def candidates(version: str) -> Iterator[Path]:
    yield Path(sys.executable)
    found = shutil.which(f"python{version}")
    if found:
        yield Path(found)
    for folder in ("~/.pyenv/versions", "~/.local/share/uv/python"):
        yield from Path(folder).expanduser().glob(f"*{version}[.-]*/bin/python3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(CHECKS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--all-pythons", action="store_true")
    parser.add_argument("--keep", type=Path, help="where the sdist and the wheel are kept")
    options = parser.parse_args()
    wanted = options.only.split(",")
    assert set(wanted) <= set(CHECKS), f"--only takes some of {','.join(CHECKS)}"
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="release-") as name:
        check = Check(Path(name), all_pythons=options.all_pythons)
        check.build()
        if "metadata" in wanted:
            check.metadata()
        if options.quick:
            check.quick()
        else:
            if "install" in wanted:
                check.install(PYTHONS)
            if "lowest" in wanted:
                check.lowest()
            if "types" in wanted:
                check.types()
        if options.keep:
            check.sbom()
            shutil.copytree(check.dist, options.keep, dirs_exist_ok=True)
    for python in check.missing:
        print(f"Python {python} was not tried: this machine has none.")
    if check.missing and options.all_pythons:
        raise SystemExit(1)
    for one in check.checked:
        print(f"checked {one}")
    print(f"All that was tried works ({time.monotonic() - began:.0f} s).")


if __name__ == "__main__":
    main()
