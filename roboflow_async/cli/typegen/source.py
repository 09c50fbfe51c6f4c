"""Writes the Python source of a typed Workflow. Pure: an interface in, a text out."""

import re
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from roboflow_async.cli.typegen.imports import HOMES, Imports
from roboflow_async.cli.typegen.interface import Interface, Output, Parameter
from roboflow_async.cli.typegen.kinds import input_type, output_type
from roboflow_async.cli.typegen.layout import (
    LONGEST_LINE,
    as_code,
    call_of,
    docstring,
    is_of,
    joined,
    method,
)
from roboflow_async.cli.typegen.names import class_name, identifiers, literal, words

__all__ = ["Named", "source_of"]

_OF_MODELS: Final = frozenset({
    *HOMES,
    # What pydantic's models have besides `model_...`.
    "construct", "copy", "from_orm", "json", "parse_file", "parse_obj", "parse_raw", "schema",
    "schema_json", "update_forward_refs", "validate",
})  # fmt: skip
_OF_METHODS: Final = frozenset({
    *HOMES, "InputT", "self", "image", "images", "options",
    "journal", "key", "ordered", "priority", "progress", "retry_failed",  # of `stream`
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Named:
    """Which Workflow it is.

    Attributes:
        workspace: the workspace's name; None for a specification.
        workflow: the Workflow's id, or the name of the specification's file.
        command: what made the source, for its docstring.
        specification: of a Workflow that has no names.
    """

    workspace: str | None
    workflow: str
    command: str
    specification: Mapping[str, Any] | None = None


def source_of(named: Named, interface: Interface) -> str:
    """The source: a model of the outputs, and a class that runs the Workflow."""
    return _Source(named, interface).text()


class _Source:
    def __init__(self, named: Named, interface: Interface) -> None:
        self._named = named
        self._interface = interface
        self._imports = Imports()
        self._classes = set(HOMES)
        self._name = self._free_class(class_name(named.workflow.removesuffix(".json"), "Workflow"))
        self._output = self._free_class(f"{self._name}Output")
        self._unmet = set[str]()  # rules of linters that the Workflow's own names break
        parameters = interface.parameters
        names = [one.name for one in parameters]
        self._is_one_image = len(interface.images) == 1
        if not self._is_one_image:
            names += interface.images
        reserved = _OF_METHODS | {self._name, self._output, self._images_name}
        self._arguments = identifiers(names, "parameter", reserved)
        if any(name != name.lower() for name in self._arguments.values()):
            self._unmet.add("N803")

    def text(self) -> str:
        body = [
            *self._models(),
            *self._images(),
            *self._specification(),
            *self._workflow(),
            *self._given(),
        ]
        variable = self._type_variable()
        # One element may be several lines.
        if any(len(line) > LONGEST_LINE for element in body for line in element.split("\n")):
            self._unmet.add("E501")
        exported = [self._name, self._output]
        top = [
            f'"""The Workflow {self._shown()}: its inputs and outputs, with their types.',
            "",
            *textwrap.wrap(
                f"Made by `{' '.join(map(words, self._named.command.split()))}`. Run that again "
                "when the Workflow has changed: what is changed here by hand is lost then.",
                LONGEST_LINE - 4,
            ),
            '"""',
            "",
            *self._noqa(),
            *self._imports.lines(),
            "",
            "__all__ = [",
            *(f'    "{name}",' for name in exported),
            "]",
            *variable,
        ]
        return "\n".join([*top, *body, ""])

    def _shown(self) -> str:
        workspace, workflow = self._named.workspace, self._named.workflow
        return words(workflow if workspace is None else f"{workspace}/{workflow}")

    def _noqa(self) -> list[str]:
        """Names stay as they are, also long ones and such in mixed case."""
        if not self._unmet:
            return []
        # RUF100 would complain of the others where they are not in use.
        return [f"# ruff: noqa: {', '.join(sorted({*self._unmet, 'RUF100'}))}", ""]

    def _type_variable(self) -> list[str]:
        if not self._is_one_image:
            return []
        self._imports.use("TypeVar ImageInput")
        return ["", 'InputT = TypeVar("InputT", bound=ImageInput)']

    def _free_class(self, name: str) -> str:
        while name in self._classes:
            name = f"{name}Workflow"
        self._classes.add(name)
        return name

    # The model of the outputs.

    def _models(self) -> list[str]:
        nested: list[str] = []
        types: dict[str, str] = {}
        fields = identifiers(
            [one.name for one in self._interface.outputs], "output", _OF_MODELS | {self._output}
        )
        for one in self._interface.outputs:
            if isinstance(one.kinds, Mapping):
                name = self._free_class(f"{self._output}{class_name(fields[one.name], 'Output')}")
                parts = [Output(part, kinds) for part, kinds in one.kinds.items()]
                nested += self._model(
                    name, f"The parts of an output of {self._shown()}.", parts,
                    identifiers([part.name for part in parts], "output", _OF_MODELS),
                    {part.name: self._imports.use(output_type(part.kinds)) for part in parts},
                )  # fmt: skip
                types[one.name] = name
            else:
                types[one.name] = self._imports.use(output_type(one.kinds))
        said = f"What {self._shown()} gives for an image."
        model = self._model(self._output, said, self._interface.outputs, fields, types)
        return [*nested, *model]

    def _model(
        self,
        name: str,
        said: str,
        outputs: Iterable[Output],
        fields: Mapping[str, str],
        types: Mapping[str, str],
    ) -> list[str]:
        self._imports.use("ServerModel")
        if any(re.fullmatch(r"[a-z][a-z0-9]*[A-Z][A-Za-z0-9]*", one) for one in fields.values()):
            self._unmet.add("N815")
        attributes: list[tuple[str, str]] = []
        code: list[str] = []
        for one in outputs:
            field, kind = fields[one.name], types[one.name]
            may_be_none = " | None" if one.may_be_none else ""
            for _ in range(one.lists):
                kind = f"list[{kind}{may_be_none if kind != 'JsonValue' else ''}]"
            if kind != "JsonValue":
                kind += may_be_none
            attributes.append((field, self._kinds_shown(one)))
            options = ["default=None"] if one.may_be_none else []
            if field != one.name:
                self._imports.use("Field")
                options.append(f"alias={literal(one.name)}")
                code += [f"    {field}: {kind} = Field(", *(f"        {o}," for o in options)]
                code += ["    )"]
            else:
                code.append(f"    {field}: {kind}{' = None' if one.may_be_none else ''}")
        return [
            "", "", f"class {name}(ServerModel):",
            *docstring(said, "Attributes", attributes, "    "),
            *(["", *code] if code else []),
        ]  # fmt: skip

    def _kinds_shown(self, one: Output) -> str:
        if isinstance(one.kinds, Mapping):
            return "all that a step gives"
        kinds = " or ".join(map(words, one.kinds)).replace("*", "anything") or "anything"
        return f"{'list of ' * one.lists}{kinds}"

    # The inputs.

    def _images(self) -> list[str]:
        """The images of a Workflow that takes several, as `stream` takes them."""
        images = self._interface.images
        if len(images) < 2:
            return []
        self._imports.use("TypedDict ImageInput")
        name = self._images_name
        said = f'"""The images of one input of {self._shown()}, by their names."""'
        if all(image.isidentifier() and self._arguments[image] == image for image in images):
            fields = [f"    {image}: ImageInput" for image in images]
            return ["", "", f"class {name}(TypedDict):", f"    {said}", "", *fields]
        return [
            "",
            "",
            f"{name} = TypedDict(",
            f'    "{name}",',
            "    {",
            *(f"        {literal(image)}: ImageInput," for image in images),
            "    },",
            ")",
            said,
        ]

    @property
    def _images_name(self) -> str:
        return f"{self._name}Images"

    def _specification(self) -> list[str]:
        if self._named.specification is None:
            return []
        self._imports.use("Any")
        return [
            "",
            "",
            "_SPECIFICATION: dict[str, Any] = " + as_code(self._named.specification, ""),
        ]

    # The class.

    def _workflow(self) -> list[str]:
        self._imports.use("RoboflowClient Workflow")
        parameters = self._interface.parameters
        passed = [f"{self._arguments[one.name]}={self._arguments[one.name]}," for one in parameters]
        # One that is not there is left to the Workflow itself.
        signature = [self._signature_of(one) for one in parameters]
        bound = call_of("self.target", passed)
        return [
            "", "", f"class {self._name}:",
            *docstring(
                f"The Workflow {self._shown()}.", "Args",
                [("client", "runs it.")], "    ",
            ),
            "",
            "    def __init__(self, client: RoboflowClient) -> None:",
            "        self._client = client",
            "",
            *self._run(signature, bound),
            *self._stream(signature, bound),
            *self._target(signature),
        ]  # fmt: skip

    def _run(self, signature: list[str], bound: list[str]) -> list[str]:
        images = self._interface.images
        if self._is_one_image:
            first, given = ["image: ImageInput,"], "image"
            told = [("image", f"the Workflow's {words(images[0])}.")]
            self._imports.use("ImageInput")
        else:
            first = []
            told = [(self._arguments[name], "an image.") for name in images]
            given = ""
        names = [self._arguments[name] for name in images] if not self._is_one_image else []
        keywords = [*(f"{name}: ImageInput," for name in names), *signature]
        if given:
            last = [".run(image)"]
        else:
            pairs = [
                f"                {literal(name)}: {self._arguments[name]}," for name in images
            ]
            mapping = ["{", *pairs, "            }"] if pairs else ["{}"]
            last = [".run(", "            " + mapping[0], *mapping[1:]]
            last[-1] += ","
            last.append("        )")
            if not pairs:
                last = [".run({})"]
        return [
            *method("async def run", [*first], keywords, f"{self._output}"),
            *docstring(
                "Run it on one image.", "Args", [*told, *self._parameters_told()], "        ",
            ),
            *joined(f"        return await {bound[0]}", bound[1:], last),
            "",
        ]  # fmt: skip

    def _stream(self, signature: list[str], bound: list[str]) -> list[str]:
        if not self._interface.images:
            return []
        self._imports.use("Iterable AsyncIterable Unpack StreamOptions ResultStream Result")
        item, given = "InputT", ["images,"]
        if not self._is_one_image:
            # A TypedDict is no mapping of images for a type checker, as others could be added.
            self._imports.use("cast Mapping ImageInput")
            item = "Mapping[str, ImageInput]"
            given = [
                "cast(",
                f'    "Iterable[{item}] | AsyncIterable[{item}]",',
                "    images,",
                "),",
            ]
        taken = "InputT" if self._is_one_image else self._images_name
        return [
            *method(
                "def stream",
                [f"images: Iterable[{taken}] | AsyncIterable[{taken}],"],
                signature,
                f"ResultStream[Result[{item}, {self._output}]]",
                "**options: Unpack[StreamOptions],",
            ),
            *docstring(
                "Run it on many images, in parallel, at the pace that the API allows.", "Args",
                [
                    ("images", "any iterable or async iterable of them."),
                    *self._parameters_told(),
                    ("**options", "as `Workflow.stream` takes them, such as `journal`."),
                ],
                "        ",
            ),
            *joined(
                f"        return {bound[0]}", bound[1:],
                [
                    ".stream(", *(f"            {line}" for line in [*given, "**options,"]),
                    "        )",
                ],
            ),
            "",
        ]  # fmt: skip

    def _target(self, signature: list[str]) -> list[str]:
        named, interface = self._named, self._interface
        which = (
            ["specification=_SPECIFICATION,"]
            if named.specification is not None
            else [f"{literal(named.workspace or '')},", f"{literal(named.workflow)},"]
        )
        image = [f"image_input={literal(interface.images[0])},"] if self._is_one_image else []
        pairs = [
            f"                    {literal(one.name)}: {self._arguments[one.name]},"
            for one in interface.parameters
        ]
        given = (
            ["parameters=_given(", "    {", *(pair[12:] for pair in pairs), "    },", "),"]
            if pairs
            else []
        )
        return [
            *method("def target", [], signature, f"Workflow[{self._output}]"),
            *docstring(
                "Give the Workflow with these parameters, for all else that it can do.", "Args",
                self._parameters_told(), "        ",
            ),
            "        return self._client.workflow(",
            *(f"            {line}" for line in [*which, *image, *given]),
            f"            output_type={self._output},",
            "        )",
        ]  # fmt: skip

    def _given(self) -> list[str]:
        if not self._interface.parameters:
            return []
        return [
            "", "", "def _given(parameters: dict[str, object]) -> dict[str, object]:",
            '    """Leave out what is not given, for which the Workflow has defaults."""',
            "    return {name: value for name, value in parameters.items() if value is not None}",
        ]  # fmt: skip

    def _signature_of(self, one: Parameter) -> str:
        kind, name = self._imports.use(input_type(one.kinds)), self._arguments[one.name]
        if is_of(kind, one.default):
            return f"{name}: {kind} = {as_code(one.default, '')},"
        return f"{name}: {'Any' if kind == 'Any' else f'{kind} | None'} = None,"

    def _parameters_told(self) -> list[tuple[str, str]]:
        return [
            (
                self._arguments[one.name],
                " or ".join(map(words, one.kinds)).replace("*", "anything")
                + ("." if is_of(input_type(one.kinds), one.default)
                   else "; None: the Workflow's default."),
            )
            for one in self._interface.parameters
        ]  # fmt: skip
