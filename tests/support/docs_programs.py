"""The programs in docs/, which are no package, as modules."""

import importlib.util
from types import ModuleType

from support.pages import ROOT


def docs_program(name: str) -> ModuleType:
    """A new module of `docs/NAME.py`, whose names a test may set."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
