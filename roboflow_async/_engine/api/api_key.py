"""The API key, and where it goes in a request."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal
from urllib.parse import quote, urlencode

__all__ = ["KeyPlacement"]


_SHORTEST_KEY: Final = 8


@dataclass(frozen=True, slots=True)
class KeyPlacement:
    """The API key, and where it goes in a request.

    Servers from 1.5.0 on read `Authorization: Bearer`; older ones read the JSON body; the first
    hosted API (`detect.roboflow.com` and its siblings) reads only the query.
    """

    api_key: str | None
    where: Literal["header", "body", "query"]

    def __repr__(self) -> str:
        return f"<API key in the {self.where}>"

    def headers(self) -> dict[str, str]:
        """The headers that carry the key."""
        if self.api_key is None or self.where != "header":
            return {}
        return {"Authorization": f"Bearer {self.api_key}"}

    def body_fields(self) -> dict[str, str]:
        """The fields of a JSON body that carry the key."""
        return {"api_key": self.api_key} if self.api_key and self.where == "body" else {}

    def query(self, parameters: Mapping[str, str] | None = None, *, json_body: bool = True) -> str:
        """The query, with its question mark. It carries the key if nothing else does.

        Args:
            parameters: the other parameters of the query.
            json_body: whether the request has a JSON body, which the key may be in.
        """
        named = dict(parameters or {})
        in_query = self.where == "query" or (self.where == "body" and not json_body)
        if self.api_key is not None and in_query:
            named["api_key"] = self.api_key
        return "?" + urlencode(named, quote_via=quote, safe="") if named else ""

    def without_key(self, text: str) -> str:
        """A server's text, with the key removed if the server repeated it."""
        for form in self.forms():
            text = text.replace(form, "[API key]")
        return text

    def digest(self) -> str:
        """A hash that tells keys apart in this process. It must not leave it."""
        key = (self.api_key or "").encode()
        return hashlib.blake2b(key, digest_size=16, person=b"roboflow_async").hexdigest()

    def forms(self) -> set[str]:
        """The forms in which the key may be in a text: as it is, and as it is written in a URL.

        Empty for a key of a few letters, which are in every text. Roboflow's keys have 20.
        """
        if self.api_key is None or len(self.api_key) < _SHORTEST_KEY:
            return set()
        return {self.api_key, quote(self.api_key, safe=""), json.dumps(self.api_key)[1:-1]}
