"""The public names of the package with their signatures, as text, and what has changed in them.

`make names` writes them to `tests/system/public_names.txt`, once for each release. They are kept as
a text because neither an sdist nor a shallow clone has the tag of the last release, and because a
text can be read in a review.
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import griffe

ROOT: Final = Path(__file__).parents[2]
LIST: Final = ROOT / "tests" / "system" / "public_names.txt"
PACKAGE: Final = "roboflow_async"
# Doors within doors: of names that are too general to stand beside all others.
INNER_DOORS: Final = ("types.hooks",)
Found = griffe.Object | griffe.Alias


def public_names(root: Path = ROOT) -> str:
    """Each door of the package with what is imported from it, as Python without bodies."""
    package = griffe.load(
        PACKAGE, search_paths=[root], resolve_aliases=True, try_relative_path=False
    )
    doors = [
        module
        for name, module in sorted(package.members.items())
        if not module.is_alias and module.is_module and not name.startswith("_")
        if name != "cli"  # whose commands are what is used of it
    ]
    doors += [package[inner] for inner in INNER_DOORS]
    homes: dict[str, str] = {}  # where each is imported from, by where it is written
    for door in (package, *doors):
        for name in exported(door):
            homes.setdefault(target(door[name]).path, f"{door.path}.{name}")
    lines: list[str] = []
    for door in (package, *doors):
        lines += ["", f"# {door.path}"]
        for name in sorted(exported(door)):
            value = target(door[name])
            if homes[value.path] != f"{door.path}.{name}":
                lines.append(f"{name} = {homes[value.path]}")
            elif not value.is_module:
                lines += render(name, value, homes)
    return "\n".join(lines).strip() + "\n"


def exported(module: Found) -> list[str]:
    return [str(name) for name in module.exports or ()]


def target(value: Found) -> griffe.Object:
    return value.final_target if isinstance(value, griffe.Alias) else value


def render(name: str, value: griffe.Object, homes: dict[str, str], indent: str = "") -> list[str]:
    if isinstance(value, griffe.Class):
        bases = ", ".join(public_bases(value, homes))
        inside = [
            line
            for key, member in sorted(value.all_members.items())
            if shown(key, target(member))
            for line in render(key, target(member), homes, indent + "    ")
        ]
        first = f"{indent}class {name}({bases}):" if bases else f"{indent}class {name}:"
        return [first, *(inside or [f"{indent}    ..."])]
    if isinstance(value, griffe.Function):
        start = "async def" if "async" in value.labels else "def"
        returned = f" -> {value.returns}" if value.returns is not None else ""
        return [f"{indent}{start} {name}({parameters(value)}){returned}: ..."]
    assert isinstance(value, griffe.Attribute)
    behind = stands_for(value)
    if behind is not None and behind.path not in homes:
        return render(name, behind, homes, indent)
    return [f"{indent}{name}: {value.annotation or 'object'}"]


def stands_for(value: griffe.Attribute) -> griffe.Object | None:
    """What `client.batch` is, of a private class, and `client.infer`, a method of another part."""
    written = value.annotation
    if isinstance(value.value, griffe.ExprCall) and written is None:
        written = value.value.arguments[-1] if value.value.arguments else None
    if not isinstance(written, griffe.ExprName | griffe.ExprAttribute):
        return None
    path = written.canonical_path
    if not path.startswith(f"{PACKAGE}.") or not (value.parent and value.parent.is_class):
        return None
    try:
        found = target(value.modules_collection.get_member(path))
    except (KeyError, griffe.AliasResolutionError):
        return None
    return found if isinstance(found, griffe.Class | griffe.Function) else None


def public_bases(value: griffe.Class, homes: dict[str, str]) -> list[str]:
    """Private ones are how a class is made: what comes from them is written with the class."""
    private = {base.path: base for base in value.resolved_bases if base.path not in homes}
    found: dict[str, None] = {}
    for base in value.bases:
        path = base if isinstance(base, str) else base.canonical_path
        behind = private.get(path)
        if isinstance(behind, griffe.Class):
            found |= dict.fromkeys(public_bases(behind, homes))
        elif path in homes or not path.startswith((PACKAGE, "typing.")):
            found[path.rpartition(".")[2]] = None
    return list(found)


def shown(name: str, value: griffe.Object) -> bool:
    # What has these is called by a client alone.
    ours = {"context", "settings"}
    if isinstance(value, griffe.Function) and ours & {one.name for one in value.parameters}:
        return False
    return name == "__init__" or not name.startswith("_")


def parameters(function: griffe.Function) -> str:
    kinds = griffe.ParameterKind
    parts: list[str] = []
    starred = slashed = False
    for one in function.parameters:
        if slashed and one.kind is not kinds.positional_only:
            parts.append("/")
        slashed = one.kind is kinds.positional_only
        if one.kind is kinds.keyword_only and not starred:
            parts.append("*")
        starred = starred or one.kind in (kinds.keyword_only, kinds.var_positional)
        stars = {kinds.var_positional: "*", kinds.var_keyword: "**"}.get(one.kind, "")
        annotation = f": {one.annotation}" if one.annotation is not None else ""
        default = f" = {one.default}" if one.default is not None and not stars else ""
        parts.append(stars + one.name + annotation + default)
    if slashed:
        parts.append("/")
    return ", ".join(parts)


def parsed(text: str) -> dict[str, griffe.Module]:
    """Each door of a text, as griffe reads it."""
    parts = re.split(r"(?m)^# (roboflow_async[\w.]*)\n", text)[1:]
    return {
        door: griffe.visit(door, filepath=Path(f"{door}.py"), code=code)
        for door, code in zip(parts[::2], parts[1::2], strict=True)
    }


def changes(old: str, new: str) -> Iterator[tuple[str, list[str]]]:
    """What may break a program, or is new, and the words that the changelog must have for it."""
    before, after = parsed(old), parsed(new)
    for door in sorted(before | after):
        if door not in after:
            yield f"{door} is gone", [door]
        elif door not in before:
            yield f"{door} is new", [door]
        else:
            for breakage in griffe.find_breaking_changes(before[door], after[door]):
                yield told(breakage)
            for name in sorted(set(after[door].members) - set(before[door].members)):
                yield f"{door}.{name} is new", [name]


def told(breakage: griffe.Breakage) -> tuple[str, list[str]]:
    path = breakage.obj.path
    # How an object is made is told by the name of its class.
    words = [path.removesuffix(".__init__").rpartition(".")[2]]
    what = breakage.kind.value[:1].lower() + breakage.kind.value[1:]
    for value in (breakage.old_value, breakage.new_value):
        if isinstance(value, griffe.Parameter):
            words.append(value.name)
            path = f"{breakage.obj.path}({value.name})"
            break
    return f"{path}: {what}", words


def untold(old: str, new: str, changelog: str, since: str) -> list[str]:
    """The changes that no line of the changelog tells which is newer than the version `since`."""
    newer = changelog.partition(f"\n## [{since}]")[0]
    entries = [
        set(re.findall(r"[\w.]+", " ".join(re.findall(r"`([^`]+)`", entry))))
        for entry in re.split(r"(?m)^(?:- |#)", newer)[1:]
    ]
    entries = [{word for name in entry for word in (name, *name.split("."))} for entry in entries]
    return [
        f"{what} (a line of CHANGELOG.md needs: {', '.join(f'`{word}`' for word in words)})"
        for what, words in changes(old, new)
        if not any(set(words) <= entry for entry in entries)
    ]


def version(root: Path = ROOT) -> str:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


if __name__ == "__main__":
    head = (
        f"# Version {version()}, written by `make names`. The changelog tells what changes later."
    )
    LIST.write_text(f"{head}\n\n{public_names()}", encoding="utf-8")
    sys.stdout.write(f"{LIST.relative_to(ROOT)} has the names of {version()}\n")
