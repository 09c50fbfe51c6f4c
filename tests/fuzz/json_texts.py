"""JSON as a hostile server may send it: valid, nearly valid, and none."""

import json
from typing import Any

from hypothesis import strategies as st

numbers = st.sampled_from(
    [
        "0", "-0", "1", "1.5", "1e3", "1e999", "-1e999", "1e-999", "1E+400", "NaN", "Infinity",
        "-Infinity", "nan", "00", "01", "1.", ".5", "+1", "0x10", "1_000", "٣", "9" * 30,
        "9" * 400, "9" * 5000, "1" + "0" * 400 + ".0", "5e-324", "1.7976931348623157e308", "-",
        "9007199254740993", "1e", "1e+", "--1", "true", "false", "null", "tru", "nulll",
    ]
)  # fmt: skip
strings = st.text(max_size=20).map(json.dumps) | st.sampled_from(
    [
        '""', '"', '"\\', '"\\u"', '"\\ud800"', '"\\udc00"', '"\\ud83d\\ude00"', '"\\x"', '"\x00"',
        '"\n"', '"a\\n"', '"[{,:\\"]"', '"\\\\"', '"\\\\\\""', '"base64"', '"' + "A" * 3000 + '"',
        '"class"', '"x"', '"points"', '"image"', '"predictions"', '"outputs"',
    ]
)  # fmt: skip
scalars = numbers | strings
spaces = st.sampled_from(["", "", "", " ", "\n", "\t \r", "\x0b", "\ufeff", "\u00a0"])
commas = st.sampled_from([",", ",", ",", ",", ",", ",,", "", ";", " , "])


def _list(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.lists(inner, max_size=4), commas, spaces).map(
        lambda parts: "[" + parts[2] + parts[1].join(parts[0]) + "]"
    )


def _object(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    members = st.lists(st.tuples(strings, spaces, inner), max_size=4)
    return st.tuples(members, commas).map(
        lambda parts: (
            "{" + parts[1].join(f"{key}{space}:{value}" for key, space, value in parts[0]) + "}"
        )
    )


texts = st.recursive(
    scalars, lambda inner: _list(inner) | _object(inner), max_leaves=12
) | st.integers(0, 300).flatmap(
    lambda depth: st.sampled_from(["[", '{"a":', '[{"a":[']).map(lambda unit: unit * depth)
)


def _spoiled(parts: tuple[bytes, int, bytes, int]) -> bytes:
    """With some bytes in a place taken out, and others put in."""
    content, place, fresh, taken = parts
    at = place % (len(content) + 1)
    return content[:at] + fresh + content[at + taken :]


valid = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=30,
)  # fmt: skip


def encoded(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


whole = texts.map(lambda text: text.encode("utf-8", "surrogatepass")) | valid.map(encoded)
contents = whole | st.binary(max_size=60) | st.tuples(
    whole, st.integers(0, 4000), st.binary(max_size=3), st.integers(0, 3)
).map(_spoiled)  # fmt: skip
"""Bytes of a response's body."""
