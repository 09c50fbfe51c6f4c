"""`serve --platform`: runs the stand-in for Roboflow's platform."""

import math
import signal
import threading
import warnings
from importlib.util import find_spec

from roboflow_async import ConfigurationError
from roboflow_async.cli.keys import read_key
from roboflow_async.cli.options import errors_told, stderr

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
        if any(find_spec(name) is None for name in ("starlette", "uvicorn", "PIL", "scipy")):
            raise ConfigurationError(
                "serve needs an extra: pip install 'roboflow-async[cli,testing]'."
            )
        if not 0 < speed < math.inf:
            raise ConfigurationError(f"--speed {speed:g} is out of range: give a number above 0.")
        api_key = read_key(api_key, api_key_file)
        from roboflow_async.testing import StandInPlatform  # noqa: PLC0415 - an extra

        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                platform = StandInPlatform(
                    port=port, host=host, allowed_hosts=allow_host, speed=speed, api_key=api_key,
                    seed=seed,
                )  # fmt: skip
            for text in fail:
                name, _, share = text.partition("=")
                platform.fail(name, share=float(share or 1))
        except OSError as error:
            raise ConfigurationError(
                f"port {port} cannot be used: {error.strerror}. Give another --port; 0: a free one."
            ) from None
        except ValueError as error:
            raise ConfigurationError(f"--fail: {error}.") from None
    stopped = threading.Event()

    def stop(*_: object) -> None:
        stopped.set()

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, stop)
    for one in warned:
        stderr.print(f"Warning: {one.message}", style="yellow", markup=False, soft_wrap=True)
    with platform:
        key = "any" if api_key is None else "THE-KEY"
        # Lines to copy stay whole, however narrow the terminal is.
        stderr.print(
            f"Serving the platform on {platform.url}; Ctrl-C stops. In another terminal:\n\n"
            f"    export RF_API_BASE_URL={platform.url} ROBOFLOW_API_KEY={key}\n\n"
            "It has Data Staging, Batch Processing, Dedicated Deployments and a workspace. Its "
            f"time passes {speed:g} times as fast as the real one.",
            soft_wrap=True,
            markup=False,
        )
        stopped.wait()
    meter = platform.meter
    stderr.print(
        f"{meter.requests} requests, {sum(meter.puts.values())} uploads to signed URLs, "
        f"{len(meter.notifications)} notifications."
    )
