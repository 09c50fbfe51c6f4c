"""`serve --platform`: runs the stand-in for Roboflow's platform."""

import math

from roboflow_async import ConfigurationError
from roboflow_async.cli.keys import read_key
from roboflow_async.cli.options import errors_told, stderr
from roboflow_async.cli.serving import check_extra, run_until_stopped, starting

__all__ = ["serve_platform"]


def serve_platform(
    *,
    port: int,
    host: str,
    allow_host: list[str],
    api_key: str | None,
    api_key_file: str | None,
    fail: list[str],
    speed: float,
    seed: int,
) -> None:
    """Serve until Ctrl-C; the arguments are those of `serve`."""
    with errors_told():
        check_extra()
        if not 0 < speed < math.inf:
            raise ConfigurationError(f"--speed {speed:g} is out of range: give a number above 0.")
        api_key = read_key(api_key, api_key_file)
        from roboflow_async.testing import StandInPlatform  # noqa: PLC0415 - an extra

        with starting(host, port) as warned:
            platform = StandInPlatform(
                port=port, host=host, allowed_hosts=allow_host, speed=speed, api_key=api_key,
                seed=seed,
            )  # fmt: skip
        try:
            for text in fail:
                name, _, share = text.partition("=")
                platform.fail(name, share=float(share or 1))
        except ValueError as error:
            raise ConfigurationError(f"--fail: {error}.") from None
    key = "any" if api_key is None else "THE-KEY"

    def how_to_use(url: str) -> str:
        return (
            f"Serving the platform on {url}; Ctrl-C stops. In another terminal:\n\n"
            f"    export RF_API_BASE_URL={url} ROBOFLOW_API_KEY={key}\n\n"
            "It has Data Staging, Batch Processing, Dedicated Deployments and a workspace. Its "
            f"time passes {speed:g} times as fast as the real one."
        )

    run_until_stopped(platform, warned, how_to_use)
    meter = platform.meter
    stderr.print(
        f"{meter.requests} requests, {sum(meter.puts.values())} uploads to signed URLs, "
        f"{len(meter.notifications)} notifications."
    )
