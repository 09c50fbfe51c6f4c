"""The reference has names as they are imported, and nothing that is private."""

import sys
from types import ModuleType
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import stringify_annotation

# All of them here: Sphinx imports with `TYPE_CHECKING` on, which FastAPI's own imports cannot bear.
from roboflow_async import ImageInput, endpoints, fastapi, ray, testing, types
from roboflow_async._platform.batch.operations import BatchOperations
from roboflow_async._platform.deployments import DeploymentOperations

# What a bare name may mean: a bare `timeout` in a docstring is an argument, and no attribute.
KINDS = {"class", "exception", "function", "data", "type"}
__all__ = ["endpoints", "fastapi", "ray", "setup", "testing"]

ALIASES = {
    "roboflow_async.ImageInput": ImageInput,
    "roboflow_async.types.Prediction": types.Prediction,
    "roboflow_async.types.WorkflowInput": types.WorkflowInput,
    "roboflow_async.types.BatchNotification": types.BatchNotification,
}
RENAMED = {"roboflow_async.fastapi.AppOptions": "roboflow_async.fastapi.ClientOptions"}
COLON = "\ue000"  # stands for one while napoleon reads
# What is reached only as an attribute of a client is shown under that name.
PARTS = {"batch": BatchOperations, "deployments": DeploymentOperations}


def _find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element
) -> nodes.Element | None:
    """The place of a name of ours, wherever its class is written."""
    if node.get("refdomain") != "py":
        return None
    words = RENAMED.get(node["reftarget"], node["reftarget"]).split(".")
    objects = env.domaindata["py"]["objects"]
    for length in (1, 2):
        ending = "." + ".".join(words[-length:])
        found = [name for name in objects if name.endswith(ending)]
        if length == 1:
            found = [name for name in found if objects[name].objtype in KINDS]
        if found:
            entry = objects[min(found, key=len)]
            source = node.get("refdoc", env.docname)
            return make_refnode(app.builder, source, entry.docname, entry.node_id, text)
    return None


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _mark_examples(
    _app: Sphinx, what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    """What is indented below an empty line in a docstring is code."""
    lines[:] = [line.replace("Raises (while it is iterated):", "Raises:") for line in lines]
    _hide_colons(what, lines)
    marked: list[str] = []
    last = ""  # line with text
    for line in lines:
        begins = line.strip() and marked and not marked[-1].strip()
        if begins and _indent(line) and not _indent(last):
            marked += [".. code-block:: python", ""]
        marked.append(line)
        last = line if line.strip() else last
    lines[:] = marked


def _hide_colons(what: str, lines: list[str]) -> None:
    """Keep napoleon from reading "the picture: an array" as a type and what it is.

    It does so with the first paragraph of a property and with the first line of what is returned.
    """
    for number, line in enumerate(lines):
        first = number == 0 or lines[number - 1].strip() == "Returns:"
        if first and (what == "property" or number):
            lines[number] = line.replace(": ", f"{COLON} ")


def _show_colons(
    _app: Sphinx, _what: str, _name: str, _object: Any, _options: Any, lines: list[str]
) -> None:
    lines[:] = [line.replace(COLON, ":") for line in lines]


def _shorten(
    _app: Sphinx,
    what: str,
    _name: str,
    item: Any,
    _options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """The signature, with the names of long unions.

    What users are given and do not make has none: its attributes are listed below it.
    """
    if signature is None:
        return None
    if what in ("class", "exception") and "Args:" not in (item.__doc__ or ""):
        return "", None
    for name, alias in ALIASES.items():
        for mode in ("smart", "fully-qualified-except-typing"):
            written = stringify_annotation(alias, mode)
            signature = signature.replace(written, name)
            returns = returns and returns.replace(written, name)
    return signature, returns


_analyze = ModuleAnalyzer.analyze


def _analyze_without_overloads(self: ModuleAnalyzer) -> None:
    """Overloads tell type checkers apart what a reader sees in one signature."""
    _analyze(self)
    self.overloads = {}


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    ModuleAnalyzer.analyze = _analyze_without_overloads
    client = sys.modules["client"] = ModuleType("client")
    for name, kind in PARTS.items():
        members = {"__doc__": str(kind.__doc__).partition("Args:")[0], "__module__": "client"}
        setattr(client, name, type(name, (kind,), members))
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("missing-reference", _find)
    app.connect("autodoc-process-docstring", _mark_examples, priority=100)  # before napoleon
    app.connect("autodoc-process-docstring", _show_colons, priority=900)  # after it
    app.connect("autodoc-process-signature", _shorten)
    return {"parallel_read_safe": True}
