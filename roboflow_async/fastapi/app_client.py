"""The app's client: where `lifespan` leaves it, and how a request finds it."""

from typing import Final

from starlette.requests import HTTPConnection

from roboflow_async import RoboflowClient

__all__ = ["CLIENT_NAME", "client_of"]

CLIENT_NAME: Final = "roboflow_client"
"""Its name in the app's state and in the lifespan's."""


def client_of(connection: HTTPConnection) -> RoboflowClient | None:
    """The app's client, or None if it has none."""
    # Mounted apps also get the lifespan's state, but not the outer app's own state.
    client = connection.scope.get("state", {}).get(CLIENT_NAME)
    if client is None:
        client = getattr(connection.app.state, CLIENT_NAME, None)
    return client
