"""Methods of the client that one of its parts provides."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar, cast, overload

if TYPE_CHECKING:
    from roboflow_async._client.client import RoboflowClient

__all__ = ["provided_by"]

Output = TypeVar("Output")
Output_co = TypeVar("Output_co", covariant=True)
P = ParamSpec("P")
Part = TypeVar("Part")


class _Method(Protocol[P, Output_co]):
    """Says to every type checker that it is bound to its client, as functions of a class are."""

    @overload
    def __get__(
        self, client: None, owner: type["RoboflowClient"]
    ) -> Callable[Concatenate["RoboflowClient", P], Awaitable[Output_co]]: ...
    @overload
    def __get__(
        self, client: "RoboflowClient", owner: type["RoboflowClient"] | None = None
    ) -> Callable[P, Awaitable[Output_co]]: ...


def provided_by(
    part: str, method: Callable[Concatenate[Part, P], Awaitable[Output]]
) -> _Method[P, Output]:
    """A method of the client that one of its parts provides, with its signature and docstring.

    Args:
        part: the client's attribute that has the part.
        method: the method, of the part's class.
    """

    @wraps(method)
    async def call(self: "RoboflowClient", *args: P.args, **kwargs: P.kwargs) -> Output:
        return await method(cast("Part", getattr(self, part)), *args, **kwargs)

    return cast("_Method[P, Output]", call)
