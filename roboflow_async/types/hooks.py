"""What hooks are told: the events of `roboflow_async.Hook`."""

from roboflow_async._engine.public_names import show_as_public
from roboflow_async._engine.telemetry.events import (
    Attempt,
    AttemptBegan,
    AttemptEnded,
    Call,
    CallBegan,
    CallEnded,
    Client,
    CooldownBegan,
    OutageBegan,
    OutageEnded,
    PaceChanged,
    RetryScheduled,
    Stream,
    StreamBegan,
    StreamEnded,
    TurnGiven,
)

__all__ = [
    "Attempt",
    "AttemptBegan",
    "AttemptEnded",
    "Call",
    "CallBegan",
    "CallEnded",
    "Client",
    "CooldownBegan",
    "OutageBegan",
    "OutageEnded",
    "PaceChanged",
    "RetryScheduled",
    "Stream",
    "StreamBegan",
    "StreamEnded",
    "TurnGiven",
]

show_as_public(globals())
