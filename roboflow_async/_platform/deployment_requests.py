"""What is sent to the API of Dedicated Deployments, checked."""

import re
from datetime import datetime
from typing import Final

from roboflow_async._engine.checks import check_flag, check_number, shown
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.errors import ConfigurationError

__all__ = ["checked_name", "new_deployment", "times_query"]

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{4,14}")


def new_deployment(
    name: object,
    *,
    machine: object,
    hours: float | None,
    creator_email: str | None,
    delete_on_expiration: bool,
    inference_version: str | None,
    min_replicas: int | None,
    max_replicas: int | None,
) -> JSONObject:
    """The fields of a request for a new deployment, checked.

    Raises:
        ConfigurationError: one is wrong.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigurationError(
            f"name={shown(name)} is not valid: give 5 to 15 of a-z, 0-9 and '-', with a letter "
            "first."
        )
    if not isinstance(machine, str) or not machine:
        raise ConfigurationError(
            f"machine={shown(machine)} is not valid: give a name of "
            "client.deployments.machine_types()."
        )
    if hours is not None:
        check_number("hours", hours, above=0, at_most=24 * 366)
    check_flag("delete_on_expiration", delete_on_expiration)
    for what, replicas in (("min_replicas", min_replicas), ("max_replicas", max_replicas)):
        if replicas is not None:
            check_number(what, replicas, at_least=0, at_most=1000, whole=True)
    fields = {
        "deployment_name": name,
        "machine_type": machine,
        "duration": hours,
        "delete_on_expiration": delete_on_expiration,
        "creator_email": creator_email,
        "inference_version": inference_version,
        "min_replicas": min_replicas,
        "max_replicas": max_replicas,
    }
    return {what: value for what, value in fields.items() if value is not None}


def checked_name(name: object) -> str:
    # Only for new ones the rule is known; the name is in a query or in JSON, where it does no harm.
    if not isinstance(name, str) or not name or len(name) > 200:
        raise ConfigurationError(f"name={shown(name)} is not the name of a deployment.")
    return name


def times_query(since: datetime | None, until: datetime | None) -> dict[str, str]:
    """The query for a span of time. A time without a zone is this machine's local time."""
    named = {"from_timestamp": since, "to_timestamp": until}
    for name, moment in named.items():
        if moment is not None and not isinstance(moment, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
            argument = {"from_timestamp": "since", "to_timestamp": "until"}[name]
            raise ConfigurationError(f"{argument}={shown(moment)} is not a datetime.")
    return {
        name: (moment if moment.tzinfo is not None else moment.astimezone()).isoformat()
        for name, moment in named.items()
        if moment is not None
    }
