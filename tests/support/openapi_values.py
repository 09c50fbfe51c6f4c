"""Values that fit the Inference Server's OpenAPI document, for property tests."""

from typing import Any

from hypothesis import strategies as st

NUMBERS = st.floats(allow_nan=False, allow_infinity=False, width=32)
TEXTS = st.text(max_size=12)
ANYTHING = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), TEXTS)


def values_of(schema: Any, document: Any) -> st.SearchStrategy[Any]:
    """Values of a schema of the document; objects with and without what is optional."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return st.deferred(lambda: values_of(document["components"]["schemas"][name], document))
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return st.one_of([values_of(one, document) for one in schema[several]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        if items is None:
            return st.lists(NUMBERS, max_size=2)
        least = schema.get("minItems", 0)
        return st.lists(values_of(items, document), min_size=least, max_size=least + 2)
    if kind == "object" or "properties" in schema:
        return _objects(schema, document)
    simple = {
        "string": TEXTS,
        "integer": st.integers(-(10**6), 10**6),
        "number": NUMBERS,
        "boolean": st.booleans(),
        "null": st.none(),
    }
    return simple.get(kind, ANYTHING)


def _objects(schema: Any, document: Any) -> st.SearchStrategy[Any]:
    properties = schema.get("properties", {})
    required = set(schema.get("required", ()))
    more = schema.get("additionalProperties")
    if not properties:
        of = values_of(more, document) if isinstance(more, dict) and more else ANYTHING
        return st.dictionaries(TEXTS, of, max_size=2)
    # `new_field`: what a newer server may add.
    return st.fixed_dictionaries(
        {name: values_of(one, document) for name, one in properties.items() if name in required},
        optional={
            **{
                name: values_of(one, document)
                for name, one in properties.items()
                if name not in required
            },
            "new_field": ANYTHING,
        },
    )
