"""Which runners are alive, judged by their heartbeats.

A runner is dead when its beat has not changed for ``stale_after`` by this process's monotonic clock: clocks of two machines
are never compared. Time during which the heartbeats could not be read does not count: with the database away no runner can
write one either, and all of them would be given up the moment it is back.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from store.interfaces import Heartbeat


@dataclass
class _Pulse:
    beat: int | None
    since: float  # monotonic instant since when it has not changed


class Watch:
    """Judges by their beats which runners are alive."""

    def __init__(self, *, stale_after: float, interval: float) -> None:
        self._stale_after = stale_after
        self._blind_after = 2 * interval + 1
        self._pulses: dict[str, _Pulse] = {}
        self._looked_at: float | None = None

    def look(self, heartbeats: Iterable[Heartbeat], now: float) -> None:
        """Take note of every heartbeat there is, as read at the monotonic instant ``now``."""
        if self._looked_at is not None and now - self._looked_at > self._blind_after:
            for pulse in self._pulses.values():
                pulse.since = now
        self._looked_at = now
        for heartbeat in heartbeats:
            known = self._pulses.get(heartbeat.runner)
            if known is None or known.beat != heartbeat.beat:
                self._pulses[heartbeat.runner] = _Pulse(heartbeat.beat, now)

    def expect(self, owners: Iterable[str], now: float) -> None:
        """Take note of runners that own something; one that never had a heartbeat is timed from here."""
        for owner in owners:
            self._pulses.setdefault(owner, _Pulse(None, now))

    def is_dead(self, runner: str, now: float) -> bool:
        """Tell whether ``runner`` has not given a sign of life for too long."""
        pulse = self._pulses.get(runner)
        return pulse is not None and now - pulse.since >= self._stale_after

    def dead(self, now: float) -> frozenset[str]:
        """Return the dead runners among those known."""
        return frozenset(runner for runner in self._pulses if self.is_dead(runner, now))

    def anyone_alive(self, now: float) -> bool:
        """Tell whether there is a runner that could take a request."""
        return any(pulse.beat is not None and not self.is_dead(runner, now) for runner, pulse in self._pulses.items())

    def forget(self, runners: Collection[str]) -> None:
        """Forget runners that are gone for good."""
        for runner in runners:
            self._pulses.pop(runner, None)
