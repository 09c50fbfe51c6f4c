"""What a Workflow takes and gives, as the generated code needs it. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from roboflow_async import ConfigurationError
from roboflow_async._engine.jsonvalues import JSONObject, is_array, is_object
from roboflow_async.cli.typegen.nesting import Nesting, nestings
from roboflow_async.types import WorkflowInterface

__all__ = ["NO_DEFAULT", "Interface", "Output", "Parameter", "interface_of"]

NO_DEFAULT: Final = object()
_MOST_SHOWN: Final = 20  # names in an error


@dataclass(frozen=True, slots=True)
class Parameter:
    """An input that is no image.

    Attributes:
        name: its name in the Workflow.
        kinds: what it takes.
        default: what the Workflow takes if it is left out; `NO_DEFAULT`: that is not known.
    """

    name: str
    kinds: tuple[str, ...]
    default: object = NO_DEFAULT


@dataclass(frozen=True, slots=True)
class Output:
    """An output.

    Attributes:
        name: its name in the Workflow.
        kinds: what it may be, or the same of each of its parts: all properties of a step.
        lists: how deep it is within lists: 1 if it comes once for each crop of the image.
        may_be_none: whether it may be missing, or one in its lists.
    """

    name: str
    kinds: tuple[str, ...] | Mapping[str, tuple[str, ...]]
    lists: int = 0
    may_be_none: bool = False


@dataclass(frozen=True, slots=True)
class Interface:
    """The inputs and outputs of a Workflow, in the order that the server gives them in."""

    images: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    outputs: tuple[Output, ...]


def interface_of(
    told: WorkflowInterface,
    *,
    specification: JSONObject | None = None,
    lists: Iterable[str] = (),
    optional: Iterable[str] = (),
) -> Interface:
    """Put together what a server tells, and what its user knows besides.

    Args:
        told: by the server.
        specification: the Workflow's own, which has the defaults of its inputs, and tells which
            outputs are within lists or may be missing.
        lists: outputs that are within a list; a name that comes twice, within lists of lists.
        optional: outputs that may be None.

    Raises:
        ConfigurationError: there is no such output.
    """
    depths, missing = Counter(lists), frozenset(optional)
    for option, names in (("--list", depths), ("--optional", missing)):
        for name in names:
            if name not in told.outputs:
                known = ", ".join(f"{one:.80}" for one in list(told.outputs)[:_MOST_SHOWN])
                raise ConfigurationError(
                    f"{option} {name!r:.80}: this Workflow has no such output: it has "
                    f"{known or 'none'}."
                )
    defaults = _defaults(specification or {})
    nested = nestings(specification or {})
    return Interface(
        images=tuple(name for name, kinds in told.inputs.items() if "image" in kinds),
        parameters=tuple(
            # The server may keep kinds in a set, which has no order.
            Parameter(name, tuple(sorted(kinds)), defaults.get(name, NO_DEFAULT))
            for name, kinds in told.inputs.items()
            if "image" not in kinds
        ),
        outputs=tuple(
            Output(
                name,
                {part: tuple(sorted(of_part)) for part, of_part in kinds.items()}
                if isinstance(kinds, dict)
                else tuple(sorted(kinds)),
                max(depths[name], nested.get(name, Nesting()).lists),
                name in missing or nested.get(name, Nesting()).may_be_none,
            )
            for name, kinds in told.outputs.items()
        ),
    )


def _defaults(specification: JSONObject) -> dict[str, object]:
    """The defaults of inputs, by their names."""
    declared: object = specification.get("inputs")
    found: dict[str, object] = {}
    for one in declared if is_array(declared) else ():
        if is_object(one) and isinstance(one.get("name"), str) and "default_value" in one:
            found[one["name"]] = one["default_value"]
    return found
