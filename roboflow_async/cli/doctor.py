"""`doctor`: what is wrong with the key, the host or the way there, and what to do about it."""

import asyncio
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final

import httpx
import typer

from roboflow_async import AuthenticationError, RoboflowClient, RoboflowError, UsageLimitError
from roboflow_async.cli.options import AUTHENTICATION, FAILED, APIKey, Host, connect, stderr
from roboflow_async.regions import is_roboflow_host

__all__ = ["doctor"]

_WRONG_CLOCK: Final = 60.0  # seconds
_HEADER_SINCE: Final = (1, 5)  # the first server that reads the key from the header


@dataclass
class Finding:
    """One check: whether it is fine, what was seen, and what to do if it is not."""

    name: str
    fine: bool
    seen: str
    advice: str = ""
    code: int = FAILED


def _fine(name: str, seen: str) -> Finding:
    return Finding(name=name, fine=True, seen=seen)


def _wrong(name: str, seen: str, advice: str = "", code: int = FAILED) -> Finding:
    return Finding(name=name, fine=False, seen=seen, advice=advice, code=code)


def doctor(
    host: Host = None,
    api_key: APIKey = None,
    platform_url: Annotated[
        str | None, typer.Option(help="The platform API, which knows the key.", hidden=True)
    ] = None,
) -> None:
    """Check the key, the host, the way there, the clock and the server's version."""
    more: dict[str, Any] = {"platform_url": platform_url} if platform_url is not None else {}
    try:
        client = connect(api_key, host, **more)
    except RoboflowError as error:
        findings = [_wrong("settings", str(error))]
    else:
        findings = asyncio.run(_examine(client, api_key, platform_url is not None))
    for finding in findings:
        mark, style = ("ok  ", "green") if finding.fine else ("FAIL", "red")
        stderr.print(mark, style=style, end=" ")
        stderr.print(f"{finding.name}: {finding.seen}", markup=False, soft_wrap=True)
        if finding.advice:
            stderr.print(f"     {finding.advice}", markup=False, soft_wrap=True)
    bad = [finding.code for finding in findings if not finding.fine]
    if bad:
        raise typer.Exit(bad[0])
    stderr.print("All is well.")


async def _examine(client: RoboflowClient, api_key: str | None, platform: bool) -> list[Finding]:
    url = client.api_url
    source = "--api-key" if api_key else "ROBOFLOW_API_KEY"
    given = bool(api_key or os.environ.get("ROBOFLOW_API_KEY"))
    findings = [
        _fine("host", url),
        _fine("key", f"given by {source}" if given else "none; this host needs none"),
    ]
    async with client:
        answer = await _reach(url, findings)
        if answer is not None:
            findings.append(_clock(answer))
            findings += await _version(client)
        if given and (platform or is_roboflow_host(httpx.URL(url).host)):
            findings.append(await _key(client))
    return findings


async def _reach(url: str, findings: list[Finding]) -> httpx.Response | None:
    try:
        async with httpx.AsyncClient(timeout=5) as http:
            answer = await http.get(f"{url}/info")
    except httpx.ConnectError as error:
        reason = str(error) or "no connection"
        advice = "Is the host spelled right, the server running, a firewall or proxy between?"
        if "CERTIFICATE" in reason:
            advice = "Set SSL_CERT_FILE to the certificates of your proxy or your own server."
        elif "resolution" in reason or "Name or service" in reason:
            advice = "The name is not known here: check --host, and the network's DNS."
        findings.append(_wrong("reachable", reason[:300], advice))
    except httpx.HTTPError as error:
        findings.append(
            _wrong("reachable", f"no answer ({type(error).__name__})",
                "The host takes connections and does not answer: is it a Roboflow server?",
            )
        )  # fmt: skip
    else:
        took = answer.elapsed.total_seconds() * 1000
        findings.append(_fine("reachable", f"answers in {took:.0f} ms"))
        return answer
    return None


def _clock(answer: httpx.Response) -> Finding:
    try:
        there = parsedate_to_datetime(answer.headers["date"])
        off = (datetime.now(UTC) - there).total_seconds()
    except (KeyError, ValueError, TypeError):
        return _fine("clock", "the server tells no time")
    if abs(off) > _WRONG_CLOCK:
        return _wrong("clock", f"{off:+.0f} s off the server's",
            "Set this machine's clock: certificates and signed URLs depend on it.",
        )  # fmt: skip
    return _fine("clock", "agrees with the server's")


async def _version(client: RoboflowClient) -> list[Finding]:
    try:
        info = await client.server_info()
    except RoboflowError as error:
        return [
            _wrong("server", str(error)[:300],
                "This host does not answer as an Inference Server does: check --host.",
            )
        ]  # fmt: skip
    seen = f"{info.name} {info.version}"
    parts = info.version.split(".")
    number = tuple(int(part) for part in parts[:2] if part.isdigit())
    if len(number) == 2 and number < _HEADER_SINCE:
        advice = "It reads no key from the header: give RoboflowClient api_key_transport='body'."
        return [_wrong("server", seen, advice)]
    return [_fine("server", seen)]


async def _key(client: RoboflowClient) -> Finding:
    try:
        found: Any = await client.preflight()
    except AuthenticationError:
        advice = "Copy it anew from the workspace's settings at app.roboflow.com, under API Keys."
        return _wrong("key works", "it is refused", advice, AUTHENTICATION)
    except UsageLimitError as error:
        return _wrong("key works", error.message, "See the workspace's usage and plan.")
    except RoboflowError as error:
        return _wrong("key works", str(error)[:300],
            "The platform API cannot be asked; what is sent may work all the same.",
        )  # fmt: skip
    if not found.under_cap:
        advice = "See the workspace's usage and plan."
        return _wrong("key works", "the workspace is over its limit", advice)
    return _fine("key works", f"workspace {found.workspace}, below its limit")
