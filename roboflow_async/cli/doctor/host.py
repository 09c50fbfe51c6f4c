"""What the doctor asks of the API's host: whether it responds, its clock, version, and the key."""

import re
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from roboflow_async import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    AuthenticationError,
    RoboflowClient,
    RoboflowError,
    UsageLimitError,
)
from roboflow_async._engine.api.responses import Headers
from roboflow_async._engine.jsonvalues import JSONObject
from roboflow_async.cli.doctor.findings import LONGEST_NAME, Finding, fine, unknown, wrong
from roboflow_async.cli.options import AUTHENTICATION
from roboflow_async.types.server import ServerInfo

__all__ = ["advice_on", "check_key_at_host", "check_key_at_platform", "check_server"]

_WRONG_CLOCK: Final = 60.0  # seconds
_HEADER_SINCE: Final = (1, 5)  # the first version that reads the key from the header
_VERSION: Final = re.compile(r"v?([0-9]{1,6})\.([0-9]{1,6})")
_LONGEST_DATE: Final = 60  # characters that are read
_ADVICE: Final = {
    "network": "Is the host's name right, the server running, a firewall or proxy in the way?",
    "outage": "Is the host's name right, the server running, a firewall or proxy in the way?",
    "timeout": "The host accepts connections but does not respond: is it a Roboflow server?",
    "host_name": "The host's name is unknown: check --host and the network's DNS.",
    "certificate": "Set SSL_CERT_FILE to the certificates of your proxy or your own server.",
    "proxy_authentication": "Give the proxy's login in HTTPS_PROXY, or list the host in NO_PROXY.",
}
# The smallest Workflow: a server says whether it could run it, and bills nothing.
_EMPTY_WORKFLOW: Final[JSONObject] = {"version": "1.0", "inputs": [], "steps": [], "outputs": []}
_COPY_AGAIN: Final = (
    "Copy it again from the workspace's settings at app.roboflow.com, under API Keys."
)


def advice_on(error: APIError) -> str:
    """What to do about a host that cannot be reached."""
    if isinstance(error, APITimeoutError):
        return _ADVICE["timeout"]
    fault = error.fault if isinstance(error, APIConnectionError) else "network"
    return _ADVICE.get(fault, _ADVICE["network"])


async def check_server(client: RoboflowClient) -> list[Finding]:
    """Check that the host can be reached, its clock, and its version."""
    began = time.monotonic()
    try:
        server = client._server  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - of this package
        info, headers = await server.info_with_headers()
    except (APIConnectionError, APITimeoutError) as error:
        return [wrong("reachable", error.message[:300], advice_on(error))]
    except APIError as error:
        return [
            fine("reachable", _took(began)),
            wrong("server", error.message[:300],
                "This host does not respond like an Inference Server: check --host.",
            ),
        ]  # fmt: skip
    return [fine("reachable", _took(began)), _clock(headers), _version(info)]


def _took(began: float) -> str:
    return f"responds in {(time.monotonic() - began) * 1000:.0f} ms"


def _clock(headers: Headers) -> Finding:
    try:
        there = parsedate_to_datetime(headers["date"][:_LONGEST_DATE])
        off = (datetime.now(UTC) - there).total_seconds()
    except Exception:  # noqa: BLE001 - whatever a parser of such dates makes of an odd one
        return fine("clock", "the server gives no time")
    if abs(off) > _WRONG_CLOCK:
        return wrong("clock", f"{off:+.0f} s from the server's clock",
            "Set this machine's clock: certificates and signed URLs depend on it.",
        )  # fmt: skip
    return fine("clock", "agrees with the server's clock")


def _version(info: ServerInfo) -> Finding:
    seen = f"{info.name[:LONGEST_NAME]} {info.version[:LONGEST_NAME]}"
    number = _VERSION.match(info.version)
    if number is not None and (int(number[1]), int(number[2])) < _HEADER_SINCE:
        advice = "It does not read the key from the header: give api_key_transport='body'."
        return wrong("server", seen, advice)
    return fine("server", seen)


async def check_key_at_host(client: RoboflowClient, *, is_given: bool) -> list[Finding]:
    """Whether the host takes the key, by a request that it runs nothing for and does not bill."""
    name = "key at the host"
    try:
        await client.validate_workflow(_EMPTY_WORKFLOW)
    except AuthenticationError:
        if not is_given:
            advice = "Set ROBOFLOW_API_KEY, or give --api-key-file."
            return [wrong(name, "this host wants one, and none is given", advice, AUTHENTICATION)]
        return [wrong(name, "it is refused", _COPY_AGAIN, AUTHENTICATION)]
    except UsageLimitError as error:
        return [wrong(name, error.message[:300], "See the workspace's usage and plan.")]
    except RoboflowError:
        return [unknown(name, "this host cannot say without a request that is billed")]
    if not is_given:
        return [fine(name, "this host responds without one")]
    return [fine(name, "accepted (a server of your own may accept any)")]


async def check_key_at_platform(client: RoboflowClient) -> list[Finding]:
    """Whether the key works and its workspace is below its limit."""
    try:
        found: Any = await client.preflight()
    except AuthenticationError:
        return [wrong("key works", "it is refused", _COPY_AGAIN, AUTHENTICATION)]
    except UsageLimitError as error:
        return [wrong("key works", error.message, "See the workspace's usage and plan.")]
    except RoboflowError as error:
        advice = "The platform API cannot be asked. Inference may work all the same."
        return [wrong("key works", str(error)[:300], advice)]
    if not found.under_cap:
        advice = "See the workspace's usage and plan."
        return [wrong("key works", "the workspace is over its limit", advice)]
    workspace = f"{found.workspace:.{LONGEST_NAME}}"
    return [fine("key works", f"workspace {workspace}, below its limit")]
