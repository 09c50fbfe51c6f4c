"""The law by which the number of requests in flight follows what a server can do.

It takes times, latencies and counts, and gives a number. It compares neighbouring numbers: if
throughput does not rise with the number in flight, more requests only wait in a queue. So a client
that has a server for itself finds the best number, whatever the latency is. Clients that share a
server get more of it with more requests in flight, and never see such a point. Latency limits them
instead: when it comes near the timeout, each client cuts its number sharply, and then raises it in
small steps. That ends in equal shares, as with TCP (Chiu and Jain, 1989,
https://doi.org/10.1016/0169-7552(89)90019-6).

A limit on latency alone, as in TCP Vegas or Netflix's concurrency-limits, needs the latency of an
idle server. That changes with time, differs between images, and a client that starts late never
sees it.
"""

from collections import deque
from math import inf, sqrt
from typing import Final

from roboflow_async._engine.calls.concurrency_level import MOST_SAMPLES, Level

__all__ = ["ConcurrencyLaw"]

# With x times the requests in flight, throughput must grow at least by x to the power of this.
_LEAST_GAIN: Final = 0.25
# The longest mean latency, as a share of the timeout: a few percent of responses take twice as long
# as the mean. A server that is slow even when idle may take longer, see `longest_latency`.
_LONGEST_LATENCY: Final = 0.2
_ABOVE_ORDINARY: Final = 1.2  # times the latency without a queue
# Clients that share a server see the same latency. The more one has in flight, as a share of its
# most, the earlier it cuts its number: by this share of the longest latency at most. Not where
# latencies scatter, because no queue does that: it is the images that differ.
_EARLIER: Final = 0.25
_EVEN_BELOW: Final = 0.4  # the scatter from which on none is cut earlier
_SCATTERED: Final = 0.25  # where more of it is the images than a queue
# From this share of the longest latency on, others may share the server. Then every client takes
# equal steps, and after equal times (in latencies): if those with more in flight climbed faster,
# shares would never become equal.
_CROWDED: Final = 0.5
_STEP: Final = 4
_CUT: Final = 0.6
_DEEPER_CUT: Final = 0.5  # if latency is more than twice the longest allowed, or scatters
# A cut did not help if half as many requests in flight have nearly the same latency.
_IN_VAIN: Final = 0.85
_SURELY: Final = 3  # standard errors by which a latency is longer than one that is the server's own
_SLOWEST: Final = 0.5  # of the timeout: no idle server is that slow
_LEAST_SAMPLES: Final = 8  # how many latencies a number in flight is judged by
_NOISY: Final = 0.04
_NOISY_STEP: Final = 0.4
_REACHED: Final = 0.8  # a level counts as tried from this share of it on
_QUEUEING: Final = 1.5  # times the lowest mean latency
# Seconds. Where most responses take no longer, that is mostly this client's own time, and requests
# that leave together share it. Nobody notices such a short queue.
_NEGLIGIBLE: Final = 0.005
# From so many times the number in flight on, a latency that stays the same is told from chance.
_TOLD_APART: Final = 1.5
# With x times the requests in flight, no queue makes latency more than x times as long. From this
# many times that on, the earlier responses were fast for another reason, such as a cache.
_SUDDEN: Final = 2
_HOLD: Final = (1.0, 8.0)  # seconds at a number before others are tried; longer if it has held
_CHANGED: Final = (0.7, 1.4)  # if latency leaves these bounds, the server has changed
# A new client has one request in flight for a few latencies or some seconds, and then doubles.
_FIRST_SAMPLES: Final = 4
_FIRST_WAIT: Final = 0.25
_FIRST_DOUBT: Final = 0.15  # the error of eight latencies, as a share of their mean
# A paced client begins with the number that its pace needs at this latency (seconds).
_PACED_LATENCY: Final = 1.6
# While responses are slower than ever: what the server can do in this share of the timeout.
_IN_TIME: Final = 0.4
_LEAST_IN_FLIGHT: Final = 4
_LATER: Final = 2.2  # times the usual latency
# Timeouts in a level that count as more than single ones.
_TIMEOUTS: Final = 2
_SHARE_OF_TIMEOUTS: Final = 0.2
_BUSY_FOR: Final = 3  # timeouts at most, in which nothing is sent because of those


class ConcurrencyLaw:
    """How many requests may be in flight. Moments are of any one clock, in seconds.

    Args:
        most: the largest number ever allowed.
        timeout: seconds after which a request times out.
        pace: the highest rate of requests per second; None: they are not paced.
    """

    def __init__(self, most: int, *, timeout: float, pace: float | None) -> None:
        self._most = most
        self._timeout = timeout
        self._is_starting = pace is None
        first = 1 if pace is None else min(most, max(round(pace * _PACED_LATENCY + 0.5), 1))
        self._level = Level(first, -inf)
        self._before: Level | None = None  # the level to compare with
        # The level from which it climbs. Until its number is cut for the first time, a client takes
        # large steps while latency stays as it was there.
        self._base: Level | None = None
        self._was_cut = False
        self._cut_from: Level | None = None
        self._in_flight: dict[object, tuple[float, int, int]] = {}  # sent, responses, in flight
        self._responses = 0
        self._arrivals: deque[float] = deque(maxlen=max(most, _LEAST_SAMPLES))
        self._lowest = inf  # the lowest latency so far; later, the lowest quartile
        self._calm = inf  # the lowest mean latency
        self._alone = 0.0  # the mean latency of the first requests, before there were many
        self._by_itself = 0.0  # a latency that fewer requests in flight did not lower
        self._hold = _HOLD[0]
        self._hold_until = -inf
        self._held_at: float | None = None  # latency
        self._tries_more = True
        # Requests that timed out: when the last of them was sent, and until when the server works
        # on them though nobody waits any more.
        self._given_up = self._busy_until = -inf
        self._has_probed = False

    @property
    def longest_latency(self) -> float:
        """The mean latency in seconds above which the number in flight is lowered."""
        return self._longest(self._level.scatter)

    def _longest(self, scatter: float) -> float:
        even = max(1 - scatter / _EVEN_BELOW, 0.0)
        longest = _LONGEST_LATENCY * (1 - _EARLIER * even * self._level.most / self._most)
        return max(longest * self._timeout, _ABOVE_ORDINARY * self._ordinary)

    @property
    def _ordinary(self) -> float:
        """The latency without a queue, as far as it is known; 0: it is not."""
        return max(self._lowest if self._lowest < inf else 0.0, self._by_itself)

    def _exceeds(self, level: Level, share: float) -> bool:
        """Whether its latency is longer than this share of the longest allowed."""
        # In this order, because the scatter takes longest to compute and is seldom needed.
        latency = level.latency
        return latency > share * self._longest(0.0) and latency > share * self.longest_latency

    def _is_too_long(self, level: Level) -> bool:
        if not self._exceeds(level, 1.0):
            return False
        own = _ABOVE_ORDINARY * self._by_itself
        latency, error = level.latency, level.error
        return latency - error > self.longest_latency and latency - _SURELY * error > own

    def _is_crowded(self, level: Level) -> bool:
        """Whether there is a queue that may be other clients', too."""
        if self._is_starting or not self._exceeds(level, _CROWDED):
            return False
        ordinary = self._ordinary if level.scatter > _SCATTERED else self._lowest
        return level.latency > _ABOVE_ORDINARY * ordinary

    @property
    def settled(self) -> int | None:
        """The number that it keeps for now; None while it tries others."""
        return None if self._is_starting or self._before is not None else self._level.most

    def throughput(self, now: float) -> float:
        """Responses per second in the recent past."""
        recent = min(max(self._level.most, _LEAST_SAMPLES), len(self._arrivals))
        elapsed = now - self._arrivals[-recent] if recent else inf
        return recent / elapsed if elapsed > 0 else inf

    def limit(self, now: float) -> int:
        """How many may be in flight now; 0 while the server is busy with what was given up."""
        if self._is_starting and self._level.most == 1 and self._calm == inf and self._in_flight:
            sent_at, _, _ = next(iter(self._in_flight.values()))
            if now - sent_at >= _FIRST_WAIT:
                self._set(2, now)
        if self._is_busy_in_vain(now):
            return 0
        brake = self._brake(now)
        if brake < self._level.most:
            self._level.was_braked = True
        return max(min(self._level.most, brake), 1)

    def _brake(self, now: float) -> int:
        """How many requests the server can finish in time, while it is slower than ever before.

        This reacts faster than a level: with a slow server, a paced client would have sent
        everything before the third response.
        """
        if not self._responses or not self._in_flight:
            return self._most
        sent_at, responses, _ = next(iter(self._in_flight.values()))
        age = now - sent_at
        if age <= _ABOVE_ORDINARY * self._lowest:
            return self._most
        seconds = max(_IN_TIME * self._timeout, _LATER * self._lowest)
        in_time = seconds * (self._responses - responses) / age
        # Responses come in bursts, and the first ones late, so the better of two rates counts.
        if in_time < self._most:
            in_time = max(in_time, seconds * self.throughput(now))
        return max(int(min(in_time, self._most)) + 1, _LEAST_IN_FLIGHT)

    def _is_busy_in_vain(self, now: float) -> bool:
        """Whether a request would have to wait for too many that timed out, and time out itself.

        One is sent all the same, at once: there are servers that drop what was given up.
        """
        if now >= self._busy_until - _IN_TIME * self._timeout:
            return False
        return self._has_probed or bool(self._in_flight)

    def _seconds_for_one(self, now: float) -> float:
        """What the server took for a request while it responded; 0: nobody knows.

        Where requests are few and far between, it was not the server that took so long.
        """
        arrivals = self._arrivals
        if len(arrivals) < 2 or now - arrivals[-1] > _BUSY_FOR * self._timeout:
            return 0.0
        between = (arrivals[-1] - arrivals[0]) / (len(arrivals) - 1)
        return min(between, _SLOWEST * self._timeout)

    def held(self) -> None:
        """Note that a call waits because of the limit."""
        self._level.was_held = True

    def sent(self, request: object, now: float) -> None:
        """Note that a request goes out."""
        self._has_probed = now < self._busy_until and (self._has_probed or not self._in_flight)
        self._in_flight[request] = (now, self._responses, len(self._in_flight) + 1)

    def failed(self, request: object) -> None:
        """Note a request whose end says nothing about the load: a reset connection, a 503."""
        del self._in_flight[request]

    def timed_out(self, request: object, now: float) -> None:
        """Note that a request had no response in time."""
        sent_at, _, in_flight = self._in_flight.pop(request)
        self._given_up = max(self._given_up, sent_at)
        busy_until = max(self._busy_until, now) + self._seconds_for_one(now)
        self._busy_until = min(busy_until, now + _BUSY_FOR * self._timeout)
        level = self._level
        if sent_at < level.since:
            return
        level.add(now - sent_at, in_flight)
        level.timeouts += 1
        if level.timeouts >= max(_TIMEOUTS, _SHARE_OF_TIMEOUTS * level.count):
            # The server still works on requests that nobody waits for. Find out again what it can
            # take.
            self._settle(1, now)
            self._is_starting = True
            self._by_itself = self._alone = 0.0
            self._lowest = min(self._lowest, self._timeout / 4)

    def answered(self, request: object, now: float, *, is_typical: bool = True) -> None:
        """Note that a response came. If it is typical, its latency shows the load."""
        sent_at, _, in_flight = self._in_flight.pop(request)
        self._responses += 1
        self._arrivals.append(now)
        if sent_at > self._given_up:  # those before it are done with
            self._given_up = self._busy_until = -inf
        if not is_typical:
            return
        latency = now - sent_at
        if self._calm == inf:
            self._lowest = min(self._lowest, latency)
        level = self._level
        if sent_at < level.since:
            return
        level.add(latency, in_flight)
        if level.count >= self._samples_needed(level):
            self._judge(level, now)

    def _samples_needed(self, level: Level) -> int:
        if self._is_starting:
            return _FIRST_SAMPLES if level.most == 1 else max(level.most // 2, 2)
        return min(max(level.most, _LEAST_SAMPLES), MOST_SAMPLES)

    def _judge(self, level: Level, now: float) -> None:
        """Decide whether to keep a level, from what was seen with it."""
        latency = level.latency
        self._learn(level)
        if not level.was_held:
            level.count = 0  # the pace, the input or the caller is slower than this limit
            return
        if level.was_braked and not self._is_starting and level.in_flight < _REACHED * level.most:
            self._after_brake(level, now)
            return
        if self._cut_from is not None:
            if not level.is_known:
                return
            if level.most <= self._cut_from.most / 2:
                top, self._cut_from = self._cut_from, None
                in_vain = latency + level.error > _IN_VAIN * top.latency
                if in_vain and latency < _SLOWEST * self._timeout:
                    self._by_itself = latency
                    self._settle(top.most, now)
                    return
        if level.most > 1 and self._is_too_long(level):
            self._cut(level, now)
            return
        self._cut_from = None
        if now - level.since >= _STEP * latency or not self._is_crowded(level):
            self._step(level, now)

    def _after_brake(self, level: Level, now: float) -> None:
        if level.is_flat:  # it held back for nothing
            self._lowest = max(self._lowest, level.quartile)
            self._set(level.most, now)
        else:
            self._settle(round(level.in_flight), now)

    def _step(self, level: Level, now: float) -> None:
        if self._before is not None:
            self._compare(level, self._before, now)
        elif self._is_starting:
            self._try_more(level, now)
        else:
            self._explore(level, now)

    def _learn(self, level: Level) -> None:
        """Remember how long the server needs for one request."""
        # At the start there are few responses, and the fastest come first.
        if self._is_starting or level.count < _LEAST_SAMPLES or not level.is_known:
            return
        if self._base is None:
            self._base = level
        latency = level.latency
        if latency < self._calm:
            # Only half way, because the lowest of many means is lower than the true one.
            self._calm = latency if self._calm == inf else (self._calm + latency) / 2
        self._lowest = level.lowest(self._lowest)
        if latency < self._by_itself:
            # Not by chance: the lowest of many means is lower than the true one.
            self._by_itself = min(self._by_itself, latency + level.error)

    def _cut(self, level: Level, now: float) -> None:
        self._was_cut = True
        # A deep one also tells whether fewer in flight help at all.
        deep = level.latency > 2 * self.longest_latency or level.scatter > _SCATTERED
        most = min(round(level.most * (_DEEPER_CUT if deep else _CUT)), level.most - 1)
        top = self._cut_from
        if top is None and level.count >= _LEAST_SAMPLES:
            top = level
        self._settle(most, now)
        self._cut_from = top

    def _compare(self, level: Level, before: Level, now: float) -> None:
        """Go on in the direction that was tried, or go back."""
        # Throughput is the number in flight divided by the latency (Little's law).
        expected = before.latency * (level.in_flight / before.in_flight) ** (1 - _LEAST_GAIN)
        error = sqrt(level.error**2 + (before.error * expected / before.latency) ** 2)
        most = MOST_SAMPLES
        if self._is_starting:  # two latencies may be equal by chance
            error = max(2 * error, _FIRST_DOUBT * expected * sqrt(_LEAST_SAMPLES / level.count))
            most = _LEAST_SAMPLES
        difference = level.latency - expected
        if abs(difference) < error and level.count < most:
            return
        if level.most > before.most:
            if self._is_starting and _is_sudden(level, before):
                self._lowest = max(self._lowest, level.quartile / level.in_flight)
                self._alone = level.latency / level.in_flight
                self._set(level.most, now)
                return
            # If in doubt, more: that does no harm yet.
            if difference > error and level.quartile > _NEGLIGIBLE:
                self._go_back(before, now)
                return
            self._hold = _HOLD[0]
            if self._is_starting and _is_flat(level, before):
                self._lowest = max(self._lowest, min(level.latency, before.latency))
            is_queueing = level.latency > _QUEUEING * max(self._lowest, self._alone)
            if self._is_starting and is_queueing and 2 * level.latency > self.longest_latency:
                self._settle(level.most, now)
                return
            self._try_more(level, now)
            return
        if difference > 0:
            # Fewer in flight had less throughput, so the latency does not come from a queue.
            self._calm = max(self._calm, (self._calm + before.latency) / 2)
            self._go_back(before, now)
            return
        self._hold = _HOLD[0]
        if self._may_shrink(level):
            self._try_fewer(level, now)
        else:
            self._settle(level.most, now)

    def _explore(self, level: Level, now: float) -> None:
        """Try another number, if this one has been kept for long enough."""
        if level.is_known:
            if self._held_at is None:
                self._held_at = level.latency
            elif not _CHANGED[0] < level.latency / self._held_at < _CHANGED[1]:
                self._held_at, self._hold, self._hold_until = level.latency, _HOLD[0], now
        if now < self._hold_until:
            return
        if self._tries_more or not self._may_shrink(level):
            self._tries_more = False
            self._try_more(level, now)
        else:
            self._tries_more = True
            self._try_fewer(level, now)

    def _may_shrink(self, level: Level) -> bool:
        # Two requests in flight are needed to hide the network's latency.
        is_queueing = level.latency > _QUEUEING * self._calm
        return level.most > 2 and is_queueing and level.quartile > _NEGLIGIBLE

    def _try_more(self, level: Level, now: float) -> None:
        if self._is_starting and level.most == 1:
            self._lowest = level.quartile
        if self._is_starting and not self._alone:
            self._alone = level.latency
        if level.most >= self._most:
            self._settle(level.most, now)
        else:
            self._set(level.most + self._how_many_more(level), now, before=level)

    def _how_many_more(self, level: Level) -> int:
        base = None if self._was_cut else self._base
        if self._is_starting or (base is not None and _is_flat(level, base)):
            return level.most
        if self._is_crowded(level):
            return 1
        more = max(round(sqrt(level.most) / 2), 1)
        # If latencies vary, neighbouring numbers look the same.
        if level.error > _NOISY * level.latency and level.latency < self.longest_latency:
            more = max(more, round(_NOISY_STEP * level.most))
        return more

    def _try_fewer(self, level: Level, now: float) -> None:
        fewer = max(round(sqrt(level.most)), 1)
        if level.latency > 2 * self._calm:
            fewer = max(fewer, int(0.3 * level.most))
        self._set(max(level.most - fewer, 2), now, before=level)

    def _go_back(self, before: Level, now: float) -> None:
        most = before.most
        if most == 1 and before.latency < self.longest_latency / 2:
            most = 2
        hold = min(self._hold * 1.5, _HOLD[1])
        self._tries_more = before.most > self._level.most
        self._settle(most, now)
        self._hold, self._hold_until = hold, now + hold

    def _settle(self, most: int, now: float) -> None:
        """Keep to this number for a while."""
        self._is_starting = False
        self._set(most, now)
        self._cut_from = self._held_at = None
        self._hold = _HOLD[0]
        self._hold_until = now + self._hold

    def _set(self, most: int, now: float, before: Level | None = None) -> None:
        if most < self._level.most:
            self._base = None
        self._level = Level(min(max(most, 1), self._most), now)
        self._before = before


def _is_flat(level: Level, before: Level) -> bool:
    """Whether many more in flight had the same latency, so that no queue is in sight."""
    return level.in_flight >= _TOLD_APART * before.in_flight and level.is_flat_after(before)


def _is_sudden(level: Level, before: Level) -> bool:
    """Whether latency grew more than a queue makes it grow."""
    return level.latency > _SUDDEN * before.latency * level.in_flight / before.in_flight
