"""Makes the README that PyPI shows: there, a link within the repository would lead nowhere."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class ReadmeForPyPI(MetadataHookInterface):
    """Links and pictures lead to the repository, as it is at the tag of this version."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Called by hatchling for the wheel and for the sdist."""
        repository = metadata["urls"]["Repository"]
        tag = f"v{metadata['version']}"
        raw = repository.replace("github.com", "raw.githubusercontent.com")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = re.sub(r"(!\[[^\]]*\]\()(?!https?:)", rf"\1{raw}/{tag}/", text)
        text = re.sub(r"(?<!!)(\[[^\]]*\]\()(?!https?:|#)", rf"\1{repository}/blob/{tag}/", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
