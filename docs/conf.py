"""How Sphinx builds the site: `make docs`.

Sphinx, because it takes the reference from the docstrings, checks each link between pages, and is
what a reader of Python's own documentation knows. MyST, because the pages are Markdown, which
GitHub shows as well. Furo, because it reads well on a phone and in the dark.
"""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

from pygments.lexers import BashLexer
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))  # for extensions/

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT["urls"]["Repository"]

project = "roboflow_async"
author = "the authors of roboflow_async"
version = release = PROJECT["version"]
html_title = "roboflow_async"
html_short_title = "roboflow_async"

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "extensions.command_line",
    "extensions.endpoints",
    "extensions.public_names",
]
exclude_patterns = ["extensions", "notebooks", "pictures"]

# Markdown.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# The reference: one backtick in a docstring is a name of ours, if there is one, and else code.
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
autodoc_typehints = "signature"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 72
toc_object_entries_show_parents = "hide"
# What is not ours has no page here, nor what is private, such as a type variable in a signature.
nitpick_ignore_regex = [
    ("py:.*", r"(?s)(?!roboflow_async\.).*"),
    ("py:.*", r"roboflow_async\.(.*\.)?_.*"),
    ("py:.*", r"roboflow_async\.(endpoints|ray|testing|video)\.[a-z]+\..*"),
]

html_theme = "furo"
pygments_dark_style = "github-dark"
html_show_copyright = False  # LICENSE says it
html_static_path = ["static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": f"{REPOSITORY}/",
    "source_branch": "main",
    "source_directory": "docs/",
    "light_css_variables": {"color-brand-primary": "#5b21b6", "color-brand-content": "#5b21b6"},
    "dark_css_variables": {"color-brand-primary": "#c4b5fd", "color-brand-content": "#c4b5fd"},
}
copybutton_exclude = ".linenos, .gp, .go"
linkcheck_timeout = 10
linkcheck_ignore = [r"http://(localhost|127\.0\.0\.1).*", r"https://app\.roboflow\.com/.*"]

# Pages of the repository that the site has, too: what they link to, as the site calls it.
ON_THE_SITE = {
    "MIGRATION.md": "/guides/moving-from-inference-sdk.md",
    "SECURITY.md": "/security.md",
}


def _link(_app: Sphinx, path: Path, _page: str, content: list[str]) -> None:
    if path.parts[0] != "..":
        return

    def there(link: re.Match[str]) -> str:
        target = link[1]
        return f"]({ON_THE_SITE.get(target, f'{REPOSITORY}/blob/main/{target}')}"

    content[0] = re.sub(r"\]\(([\w./-]+\.(?:md|py|toml))", there, content[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("include-read", _link)
    # Commands have no prompt before them, to be copied; for Pygments' own lexer all is output then.
    app.add_lexer("console", BashLexer)
    return {"parallel_read_safe": True}
