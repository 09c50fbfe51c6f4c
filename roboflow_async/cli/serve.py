"""`serve`: runs the stand-in API, to try everything without a key."""

import signal
import threading
import warnings
from importlib.util import find_spec
from typing import Annotated

import typer

from roboflow_async import ConfigurationError
from roboflow_async.cli.keys import read_key
from roboflow_async.cli.options import errors_told, stderr
from roboflow_async.cli.serve_platform import serve_platform

__all__ = ["serve"]


def serve(
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0: a free one.")] = 9001,
    rps: Annotated[int, typer.Option(min=0, help="Requests per second allowed; 0: all.")] = 20,
    retry_after: Annotated[str | None, typer.Option(help="Retry-After of the 429s.")] = None,
    latency: Annotated[float, typer.Option(min=0, help="Seconds for each request.")] = 0.05,
    latency_jitter: Annotated[float, typer.Option(min=0, help="Seconds more, at random.")] = 0.0,
    cold_start: Annotated[float, typer.Option(min=0, help="Seconds to load the model.")] = 0.0,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="The only accepted key. Not safe for a real one: all users of this machine "
            "see it in the list of processes."
        ),
    ] = None,
    api_key_file: Annotated[
        str | None, typer.Option(help="A file that holds the key, or '-' for stdin. Safe.")
    ] = None,
    fail: Annotated[
        list[str],
        typer.Option(help="A fault and the share of requests with it: unavailable=0.1"),
    ] = [],  # noqa: B006 - typer copies it
    host: Annotated[
        str,
        typer.Option(
            help="The address to listen on. With any but the default, other machines can use it."
        ),
    ] = "127.0.0.1",
    allow_host: Annotated[
        list[str],
        typer.Option(help="A name by which other machines know this one, for the Host header."),
    ] = [],  # noqa: B006 - typer copies it
    seed: Annotated[int, typer.Option(help="The seed for everything random.")] = 0,
    platform: Annotated[
        bool,
        typer.Option(
            "--platform",
            help="Stand in for what lies beside inference instead: Data Staging, Batch "
            "Processing, Dedicated Deployments, the workspace. Rates and latencies do not apply.",
        ),
    ] = False,
    speed: Annotated[
        float, typer.Option(help="With --platform: how fast its time passes; 60: jobs in seconds.")
    ] = 1.0,
) -> None:
    """Run a stand-in for the Roboflow API on this machine, with rate limits and faults."""
    if platform:
        serve_platform(
            port=port, host=host, allow_host=allow_host, api_key=api_key,
            api_key_file=api_key_file, fail=fail, speed=speed, seed=seed,
        )  # fmt: skip
        return
    with errors_told():
        if any(find_spec(name) is None for name in ("starlette", "uvicorn", "PIL", "scipy")):
            raise ConfigurationError(
                "serve needs an extra: pip install 'roboflow-async[cli,testing]'."
            )
        api_key = read_key(api_key, api_key_file)
        from roboflow_async.testing import StandInServer  # noqa: PLC0415 - an extra

        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                server = StandInServer(
                    port=port, host=host, allowed_hosts=allow_host,
                    requests_per_second=rps or None, retry_after=retry_after,
                    latency=latency, latency_jitter=latency_jitter, cold_start=cold_start,
                    api_key=api_key, seed=seed,
                )  # fmt: skip
            for text in fail:
                name, _, share = text.partition("=")
                server.fail(name, share=float(share or 1))
        except OSError as error:
            what = f"port {port}" if host == "127.0.0.1" else f"port {port} of {host!r}"
            raise ConfigurationError(f"{what} cannot be used: {error.strerror}.") from None
        except ValueError as error:
            raise ConfigurationError(f"--fail: {error}.") from None
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    for one in warned:
        stderr.print(f"Warning: {one.message}", style="yellow", markup=False, soft_wrap=True)
    with server:
        stderr.print(f"Serving on {server.url}; Ctrl-C stops.", soft_wrap=True)
        stopped.wait()
    meter = server.meter
    stderr.print(
        f"{meter.billed} requests billed, {meter.statuses[429]} rejected, "
        f"{meter.busiest_second()} in the busiest second."
    )
