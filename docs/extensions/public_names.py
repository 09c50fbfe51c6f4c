"""A name of ours in a docstring or a signature leads to where it is explained."""

from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

# What a bare name may mean: a bare `timeout` in a docstring is an argument, and no attribute.
KINDS = {"class", "exception", "function", "data", "type"}


def _find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: nodes.Element
) -> nodes.Element | None:
    if node.get("refdomain") != "py":
        return None
    words = node.get("reftarget", "").split(".")
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


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("missing-reference", _find)
    return {"parallel_read_safe": True}
