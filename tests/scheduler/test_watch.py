"""Who is alive, and who has been silent for too long."""

import pytest

from apps.scheduler.watch import Watch
from store.interfaces import Heartbeat


@pytest.mark.parametrize(
    "looks, expected",
    [
        pytest.param([(0, 1), (4, 1), (8, 1)], False, id="silent, but not for long enough"),
        pytest.param([(0, 1), (4, 1), (8, 1), (10, 1)], True, id="silent for long enough"),
        pytest.param([(0, 1), (4, 2), (8, 2), (12, 2)], False, id="a later beat"),
        pytest.param([(0, 7), (4, 7), (8, 1), (12, 1)], False, id="a counter that began anew is a sign of life"),
        pytest.param([(0, 1), (4, None), (8, None), (10, None)], True, id="a vanished heartbeat starts no new grace"),
        pytest.param([(0, 1), (30, 1)], False, id="time not looked at does not count"),
    ],
)
def test_a_runner_is_judged_by_its_beats(looks, expected):
    watch = Watch(stale_after=10, interval=2)
    for now, beat in looks:
        watch.look([Heartbeat("r", beat)] if beat is not None else [], now)
    assert watch.is_dead("r", looks[-1][0]) is expected
    assert not watch.is_dead("unknown", looks[-1][0])


def test_an_owner_that_nobody_has_ever_heard_of_is_nobody_who_could_take_a_request() -> None:
    watch = Watch(stale_after=10, interval=2)
    watch.expect(["ghost"], 0)
    assert not watch.anyone_alive(0)
    watch.look([Heartbeat("runner", 1)], 1)
    assert watch.anyone_alive(10.9)
    assert not watch.anyone_alive(11)
