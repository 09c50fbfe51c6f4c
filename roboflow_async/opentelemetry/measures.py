"""The metrics. Each call is recorded in the histograms; the rest is read from tallies."""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from opentelemetry.metrics import (
    CallbackOptions,
    Meter,
    MeterProvider,
    Observation,
    get_meter,
    get_meter_provider,
)
from opentelemetry.util.types import AttributeValue

from roboflow_async._engine.pace.pacer import Pacer
from roboflow_async.opentelemetry.batched import Batched
from roboflow_async.opentelemetry.tally import (
    CALLS,
    CREDITS,
    REJECTED,
    RETRIES,
    Key,
    Tally,
)

__all__ = ["Measures", "measures_of"]

# Of the conventions for `http.client.request.duration`, and on to how long streams may wait.
_ATTEMPT: Final = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
_QUEUE: Final = (*_ATTEMPT, 30.0, 60.0, 120.0, 300.0, 600.0)

Server = tuple[tuple[str, AttributeValue], ...]


class Measures:
    """The instruments of one meter, and the tallies of all clients that they tell of.

    Args:
        meter: makes the instruments.
    """

    def __init__(self, meter: Meter) -> None:
        # The reader of each exporter collects in a thread of its own.
        self._lock = threading.Lock()
        self._tallies: list[tuple[weakref.ref[object], Tally]] = []
        self._gone: dict[Server, Tally] = {}
        self.attempt_duration: Batched = Batched(meter.create_histogram(
            "http.client.request.duration", "s", "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_ATTEMPT,
        ))  # fmt: skip
        self.queue_duration: Batched = Batched(meter.create_histogram(
            "roboflow.client.queue.duration", "s", "Waits of calls for a slot and a turn.",
            explicit_bucket_boundaries_advisory=_QUEUE,
        ))  # fmt: skip
        for name, unit, names, counts, about in (
            ("calls", "{call}", CALLS, _calls, "Calls that have ended."),
            ("credits", "{credit}", CREDITS, _credits, "What they cost, if the server says it."),
            ("retries", "{attempt}", RETRIES, _retries, "Attempts that failed and are repeated."),
            ("rejected", "{attempt}", REJECTED, _rejected, "Attempts that got a 429."),
        ):
            meter.create_observable_counter(
                f"roboflow.client.{name}", [self._counter(counts, names)], unit, about
            )
        for name, unit, number, about in (
            ("waiting", "{call}", _waiting, "Calls that wait for their next attempt."),
            ("in_flight", "{attempt}", _in_flight, "Attempts that have not ended."),
            ("outages", "{part}", _outages, "Parts of the API that give nothing but failures."),
        ):
            meter.create_observable_up_down_counter(
                f"roboflow.client.{name}", [self._present(number)], unit, about
            )
        for name, pace, about in (
            ("pace", _pace, "Attempts a second that are allowed now."),
            ("pace.limit", _limit, "Attempts a second that are allowed at most."),
        ):
            meter.create_observable_gauge(
                f"roboflow.client.{name}", [self._pacing(pace)], "{attempt}/s", about
            )

    def add(self, owner: object, tally: Tally) -> None:
        """Tell of this tally, too, as long as its owner lives, and of its counts after that."""
        with self._lock:
            self._forget_gone()
            self._tallies.append((weakref.ref(owner), tally))

    def _forget_gone(self) -> None:
        """Keep one tally for all clients of a server that are gone."""
        living: list[tuple[weakref.ref[object], Tally]] = []
        for owner, tally in self._tallies:
            if owner() is not None:
                living.append((owner, tally))
                continue
            server = tuple(tally.server.items())
            self._gone.setdefault(server, Tally(tally.server, None)).take_over(tally)
        self._tallies = living

    def _present_tallies(self) -> tuple[list[Tally], list[Tally]]:
        """Those of clients that are there, and of those that are gone."""
        # This is part of a collection, which reads the histograms after it has asked for all else.
        self.attempt_duration.pass_on()
        self.queue_duration.pass_on()
        with self._lock:
            self._forget_gone()
            return [tally for _, tally in self._tallies], list(self._gone.values())

    def _counter(
        self, counts_of: Callable[[Tally], dict[Key, float]], names: tuple[str, ...]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            here, gone = self._present_tallies()
            sums: dict[tuple[Server, Key], float] = {}
            for tally in (*here, *gone):
                server = tuple(tally.server.items())
                # A copy, which is made in one step: the event loop goes on counting.
                for key, count in counts_of(tally).copy().items():
                    sums[server, key] = sums.get((server, key), 0) + count
            for (server, key), count in sums.items():
                more = {
                    name: value for name, value in zip(names, key, strict=True) if value is not None
                }
                yield Observation(count, {**dict(server), **more})

        return observe

    def _present(
        self, number_of: Callable[[Tally], int]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            here, gone = self._present_tallies()
            sums = {tuple(tally.server.items()): 0 for tally in gone}
            for tally in here:
                server = tuple(tally.server.items())
                sums[server] = sums.get(server, 0) + number_of(tally)
            for server, number in sums.items():
                yield Observation(number, dict(server))

        return observe

    def _pacing(
        self, pace_of: Callable[[Pacer], float | None]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_: CallbackOptions) -> Iterator[Observation]:
            paces: dict[Server, dict[int, float]] = {}
            for tally in self._present_tallies()[0]:
                pace = None if tally.pacer is None else pace_of(tally.pacer)
                if pace is not None:
                    # Clients that share a pacer have one pace together.
                    server = tuple(tally.server.items())
                    paces.setdefault(server, {})[id(tally.pacer)] = pace
            for server, each in paces.items():
                yield Observation(sum(each.values()), dict(server))

        return observe


def _calls(tally: Tally) -> dict[Key, float]:
    return tally.calls


def _credits(tally: Tally) -> dict[Key, float]:
    return tally.credits


def _retries(tally: Tally) -> dict[Key, float]:
    return tally.retries


def _rejected(tally: Tally) -> dict[Key, float]:
    return tally.rejected


def _waiting(tally: Tally) -> int:
    return tally.waiting


def _in_flight(tally: Tally) -> int:
    return tally.in_flight


def _outages(tally: Tally) -> int:
    return tally.outages


def _pace(pacer: Pacer) -> float | None:
    return pacer.pace


def _limit(pacer: Pacer) -> float | None:
    return pacer.requests_per_second


_of_providers: Final[dict[int, tuple[MeterProvider | None, Measures]]] = {}
_making: Final = threading.Lock()


def measures_of(provider: MeterProvider | None, name: str, version: str) -> Measures:
    """The instruments of a provider; None: of the global one. There is one of each, however often.

    (A meter that has an observable instrument already would not ask a second one of that name.)
    """
    if provider is get_meter_provider():
        provider = None  # which may also stand for the one that the program sets later
    with _making:
        # With the provider, so that no other object gets its id.
        found = _of_providers.get(id(provider))
        if found is None:
            found = provider, Measures(get_meter(name, version, provider))
            _of_providers[id(provider)] = found
        return found[1]
