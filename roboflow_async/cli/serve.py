"""`serve`: runs the stand-in API, to try everything without a key."""

from typing import Annotated

import typer

from roboflow_async import ConfigurationError
from roboflow_async._engine.checks import nearest
from roboflow_async.cli.keys import read_key
from roboflow_async.cli.options import errors_told, stderr
from roboflow_async.cli.serve_platform import serve_platform
from roboflow_async.cli.serving import check_extra, run_until_stopped, starting

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
        check_extra()
        api_key = read_key(api_key, api_key_file)
        faults = [_fault(text) for text in fail]
        from roboflow_async.testing import StandInServer  # noqa: PLC0415 - an extra

        with starting(host, port) as warned:
            server = StandInServer(
                port=port, host=host, allowed_hosts=allow_host, requests_per_second=rps or None,
                retry_after=retry_after, latency=latency, latency_jitter=latency_jitter,
                cold_start=cold_start, api_key=api_key, seed=seed,
            )  # fmt: skip
        for name, share in faults:
            server.fail(name, share=share)
    key = "any" if api_key is None else "THE-KEY"
    run_until_stopped(server, warned, lambda url: _how_to_use(url, key))
    meter = server.meter
    stderr.print(
        f"{meter.billed} requests billed, {meter.statuses[429]} rejected, "
        f"{meter.busiest_second()} in the busiest second.",
        soft_wrap=True,
        markup=False,
    )


def _how_to_use(url: str, key: str) -> str:
    return f"""\
Serving on {url}; Ctrl-C stops. In another terminal, copy these two lines:

    export ROBOFLOW_API_URL={url} ROBOFLOW_API_KEY={key}
    roboflow-async run FOLDER --workflow any/shapes -o found.jsonl

It finds bright shapes on a dark ground, by any id. Ids with a word for it do something else:
any/shapes-segmentation or --model shapes-seg/1 give polygons, any/keypoints and
any/classification what they say."""


def _fault(text: str) -> tuple[str, float]:
    """The name and the share of a `--fail`."""
    from roboflow_async.testing import FAULTS  # noqa: PLC0415 - an extra

    name, equals, given = text.partition("=")
    if name not in FAULTS:
        near = nearest(name, FAULTS)
        meant = f"did you mean {near!r}?" if near else f"give one of {', '.join(sorted(FAULTS))}."
        raise ConfigurationError(f"--fail {name!r:.40} is not known: {meant}")
    try:
        share = float(given) if equals else 1.0
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:  # also for NaN
        raise ConfigurationError(
            f"--fail {text!r:.80}: {given!r:.40} is no share of the requests: give a number from 0 "
            f"to 1, such as {name}=0.1."
        )
    return name, share
