"""Every table of numbers names the program that made it, and is not older than that program.

    python docs/measured.py                                 # fails where one is out of date
    python docs/measured.py --accept benchmarks/outage.py   # after measuring, or a harmless change

Above such a table stands a comment with the program and a fingerprint of its code, which leaves out
comments, empty lines and what the program says of itself:

    <!-- measured: benchmarks/outage.py 0123abcd -->

If the program has changed since, its numbers may be others. Run it again and write down what it
prints, with the day; or, if the change cannot matter for them, accept it. Works without git.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARK = re.compile(r"<!-- measured: (\S+) (\w+) -->")
TABLE = re.compile(r"(?m)(?:^\|.*\|\n)+")
DAY = re.compile(r"\b20\d\d-\d\d-\d\d\b")
_NEAR = 700  # characters around a table in which it says what made it, and when


def pages() -> list[Path]:
    """Each page that may have a table."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def fingerprint(program: str) -> str:
    """Eight letters that change with the code of a program."""
    text = (ROOT / program).read_text(encoding="utf-8")
    text = re.sub(r'\A\s*""".*?"""', "", text, flags=re.DOTALL)
    lines = (re.sub(r"\s+#.*", "", line).strip() for line in text.splitlines())
    code = "\n".join(line for line in lines if line and not line.startswith("#"))
    return hashlib.sha256(code.encode()).hexdigest()[:8]


def is_measured(table: str) -> bool:
    """Whether most of a table's cells are numbers."""
    rows = [line.strip().strip("|").split("|") for line in table.splitlines()[2:]]
    cells = [cell.strip().strip("*`") for row in rows for cell in row[1:]]
    return sum(bool(re.match(r"\d", cell)) for cell in cells) * 2 > len(cells) > 1


def problems(page: Path) -> Iterator[str]:
    """What is wrong with the tables of a page, one sentence for each."""
    text = page.read_text(encoding="utf-8")
    place = page.relative_to(ROOT).as_posix()
    for found in TABLE.finditer(text):
        if not is_measured(found[0]):
            continue
        line = text.count("\n", 0, found.start()) + 1
        above = text[: found.start()].rstrip().rpartition("\n")[2]
        mark = MARK.fullmatch(above)
        near = text[max(0, found.start() - _NEAR) : found.end() + _NEAR]
        if mark is None:
            yield f"{place}:{line}: above this table a comment must say what measured it."
            continue
        program, known = mark.groups()
        if not (ROOT / program).exists():
            yield f"{place}:{line}: there is no {program}."
        elif fingerprint(program) != known:
            yield (
                f"{place}:{line}: {program} has changed since it made this table. Run it again, "
                f"or, if its numbers are the same: python docs/measured.py --accept {program}"
            )
        if program.rpartition("/")[2] not in near.replace(above, "") or not DAY.search(near):
            yield f"{place}:{line}: the text beside it must name {program} and the day."
    if MARK.search(text) and "Xeon" not in text:
        yield f"{place}: it must say on which machine its numbers were measured."


def accept(program: str) -> int:
    """Write the program's fingerprint above each of its tables, and tell how many there are."""
    count = 0
    for page in pages():
        text = page.read_text(encoding="utf-8")
        mark = rf"<!-- measured: {re.escape(program)} \w+ -->"
        new, changed = re.subn(mark, f"<!-- measured: {program} {fingerprint(program)} -->", text)
        if new != text:
            page.write_text(new, encoding="utf-8")
        count += changed
    return count


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accept", nargs="+", default=[], metavar="PROGRAM")
    for program in parser.parse_args().accept:
        print(f"{program}: {accept(program)} tables")
    found = [problem for page in pages() for problem in problems(page)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
