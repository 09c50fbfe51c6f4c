"""What most people use today: a pool of ten threads, each with a blocking client."""

import base64
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Final

import httpx

__all__ = ["run_ten_threads"]

_THREADS: Final = 10
# inference_sdk 1.8.3 tries these again, twice, each time after up to a second (`make_request`:
# `backoff.constant` with its jitter).
_RETRIED: Final = frozenset({429, 503, 504})
_ATTEMPTS: Final = 3
_LONGEST_WAIT: Final = 1.0  # seconds


def run_ten_threads(pictures: Sequence[Path], url: str, on_result: Callable[[], object]) -> int:
    """Run the Workflow on all pictures; returns how many gave a result.

    Args:
        pictures: the files.
        url: the API's base URL.
        on_result: called for each picture when it is done, or lost.
    """
    done = 0
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        pool = ThreadPoolExecutor(_THREADS)
        try:
            for one in as_completed([pool.submit(_run, client, path) for path in pictures]):
                done += one.result()
                on_result()
        finally:
            pool.shutdown(cancel_futures=True)
    return done


def _run(client: httpx.Client, path: Path) -> bool:
    """One picture: whether it gave a result."""
    image = {"type": "base64", "value": base64.b64encode(path.read_bytes()).decode()}
    body = {"api_key": "demo", "inputs": {"image": image}}
    for attempt in range(_ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, _LONGEST_WAIT))
        try:
            response = client.post("/demo/workflows/shapes", json=body)
        except httpx.HTTPError:
            return False
        if response.status_code not in _RETRIED:
            return response.is_success
    return False
