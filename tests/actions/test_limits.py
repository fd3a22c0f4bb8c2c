"""How much is asked of one host: the slots by themselves, on a clock of the test, and the action behind them."""

import asyncio

import pytest
import pytest_asyncio
from aiohttp import web

from actions.http.limits import MOST_IDLE, HostLimit, HostLimits, Throttled
from actions.running import Failed, Succeeded
from tests.actions.conftest import LOOPBACK

HOST = "api.example"


@pytest_asyncio.fixture
async def clock(monkeypatch):
    """Let the loop's time pass by itself, at once, whenever nothing is left to do but wait."""
    loop = asyncio.get_running_loop()
    now = [loop.time()]
    select = loop._selector.select

    def pass_time(timeout):
        if timeout:
            now[0] += timeout
        return select(0)

    monkeypatch.setattr(loop, "time", lambda: now[0])
    monkeypatch.setattr(loop._selector, "select", pass_time)
    return loop.time


async def ask(limits, clock, log, name, *, host=HOST, lasts=1.0, patience=1e9):
    if not limits.begin(host):
        await limits.wait(host, patience)
    log.append((name, round(clock(), 3)))
    await asyncio.sleep(lasts)
    limits.release(host)


async def test_as_many_at_once_as_the_limit_says_in_the_order_of_arrival(clock):
    limits, log, began = HostLimits(HostLimit(concurrency=2)), [], clock()
    await asyncio.gather(*(ask(limits, clock, log, number) for number in range(6)))
    assert [(name, round(at - began)) for name, at in log] == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (5, 2)]


async def test_as_many_in_a_second_as_the_rate_says_in_the_order_of_arrival(clock):
    limits, log, began = HostLimits(HostLimit(rate=4)), [], clock()
    await asyncio.gather(*(ask(limits, clock, log, number) for number in range(6)))
    assert [name for name, _ in log] == list(range(6))
    assert [round(at - began, 2) for _, at in log] == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25], abs=0.02)


async def test_who_asks_for_many_does_not_keep_another_waiting_longer_than_his_place(clock):
    """Forty requests of one execution stand in line; one of another comes in their midst and is served at its place."""
    limits, log, began = HostLimits(HostLimit(concurrency=1)), [], clock()
    greedy = [asyncio.ensure_future(ask(limits, clock, log, "greedy")) for _ in range(20)]
    await asyncio.sleep(0)
    modest = asyncio.ensure_future(ask(limits, clock, log, "modest"))
    await asyncio.sleep(0)
    # Whoever comes back for more takes his place behind those who wait.
    greedy += [asyncio.ensure_future(ask(limits, clock, log, "greedy")) for _ in range(20)]
    await asyncio.gather(modest, *greedy)
    assert [(name, round(at - began)) for name, at in log if name == "modest"] == [("modest", 20)]


async def test_a_place_that_is_given_up_falls_to_the_next(clock):
    limits, log, began = HostLimits(HostLimit(concurrency=1, rate=1)), [], clock()
    tasks = [asyncio.ensure_future(ask(limits, clock, log, number, lasts=0)) for number in range(5)]
    await asyncio.sleep(0.5)
    for given_up in (tasks[1], tasks[3]):  # one has a slot and waits for the rate, one waits for a slot
        given_up.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [(name, round(at - began, 1)) for name, at in log] == [(0, 0), (2, 1), (4, 2)]
    await asyncio.wait_for(ask(limits, clock, log, "later"), 5)


async def test_a_slot_that_is_handed_over_to_somebody_who_is_cancelled_is_not_lost(clock):
    limits = HostLimits(HostLimit(concurrency=1))
    assert limits.begin(HOST)
    waits = asyncio.ensure_future(limits.wait(HOST, 10))
    await asyncio.sleep(0)
    limits.release(HOST)
    waits.cancel()  # it has the slot, and has not run yet
    assert isinstance((await asyncio.gather(waits, return_exceptions=True))[0], asyncio.CancelledError)
    assert limits.begin(HOST)


async def test_each_host_has_limits_of_its_own_however_it_is_written(clock):
    limits = HostLimits(HostLimit(concurrency=1), {"Big.Example": HostLimit(concurrency=3)})
    assert [limits.begin(name) for name in (HOST, HOST, f"{HOST}.", "other.example")] == [True, False, False, True]
    assert [limits.begin(name) for name in ("big.example", "BIG.example.", "big.example", "big.example")] == [
        True, True, True, False,
    ]  # fmt: skip


async def test_what_a_host_does_not_say_of_its_limits_is_as_for_all(clock):
    limits = HostLimits(
        HostLimit(concurrency=1, rate=5), {"own.example": HostLimit(rate=None), "slow.example": HostLimit(rate=1)}
    )
    assert [limits.begin("own.example") for _ in range(2)] == [True, False]
    log, began = [], clock()
    await asyncio.gather(*(ask(limits, clock, log, number, host="slow.example", lasts=3) for number in range(2)))
    assert [round(at - began) for _, at in log] == [0, 3], "one at a time"


async def test_who_would_have_to_wait_too_long_for_the_rate_is_told_at_once(clock):
    limits, began = HostLimits(HostLimit(rate=0.1)), clock()
    await limits.wait(HOST, 30)
    waiting = [asyncio.ensure_future(limits.wait(HOST, 30)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Throttled, match=r"0\.1/s to api\.example would let it begin in 30 s"):
        await limits.wait(HOST, 29)
    assert clock() == began
    await asyncio.gather(*waiting)
    assert clock() - began == pytest.approx(20)


async def test_hosts_are_forgotten_when_their_limits_are_satisfied(clock):
    limits = HostLimits(HostLimit(rate=1))
    for number in range(3 * MOST_IDLE):
        await limits.wait(f"{number}.example", 1)
        limits.release(f"{number}.example")
        if not number % 100:
            await asyncio.sleep(2)
    assert len(limits._hosts) <= MOST_IDLE + 1


# -- the action ----------------------------------------------------------------------------------------------------------


async def test_the_limit_is_shared_by_all_that_one_runner_sends(sender, receiver):
    under_way, most = 0, 0

    async def count(request):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return web.Response()

    connections = sender.connections(allow_hosts=LOOPBACK, host_limits={"127.0.0.1": HostLimit(concurrency=3)})
    url = receiver.on("/x", count)
    outcomes = await asyncio.gather(*(sender.send(connections, url=url) for _ in range(20)))
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
    assert most == 3
    queued = [outcome.output["timings"]["queue"] for outcome in outcomes]
    assert queued[:3] == [None, None, None]
    assert all(wait > 0 for wait in queued[3:])


async def test_waiting_for_a_slot_is_part_of_the_time_and_ends_throttled(sender, receiver):
    arrived, others_gave_up = asyncio.Event(), asyncio.Event()

    async def hold(request):
        arrived.set()
        await others_gave_up.wait()
        return web.Response()

    connections = sender.connections(allow_hosts=LOOPBACK, default_limit=HostLimit(concurrency=1))
    url = receiver.on("/x", hold)
    holder = asyncio.ensure_future(sender.send(connections, url=url, timeout="1m"))
    await arrived.wait()
    for throttled in await asyncio.gather(
        *(sender.send(connections, url=url, timeout="1s", method="POST") for _ in range(2))
    ):
        assert (throttled.error_class, throttled.maybe_done) == ("throttled", False), "it never left"
        assert "no slot of the host within 1 s" in throttled.message
        assert throttled.output["timings"]["total"] >= 900
    others_gave_up.set()
    assert isinstance(await holder, Succeeded)
    assert len(receiver.seen) == 1


async def test_what_is_too_fast_for_the_rate_is_throttled_and_never_sent(sender, receiver):
    connections = sender.connections(allow_hosts=LOOPBACK, host_limits={"127.0.0.1": HostLimit(rate=0.01)})
    first = await sender.send(connections, url=f"{receiver.url}/x")
    second = await sender.send(connections, url=f"{receiver.url}/x", method="POST")
    assert isinstance(first, Succeeded)
    assert isinstance(second, Failed)
    assert (second.error_class, second.maybe_done, len(receiver.seen)) == ("throttled", False, 1)
    assert "0.01/s" in second.message


async def test_a_redirect_counts_at_the_host_that_it_leads_to(sender, receiver, redirect):
    port = receiver.url.rpartition(":")[2]
    connections = sender.connections(
        allow_hosts=[*LOOPBACK, "localhost"], host_limits={"127.0.0.1": HostLimit(concurrency=1, rate=0.01)}
    )
    url = receiver.on("/to", redirect(f"http://127.0.0.1:{port}/limited")).replace("127.0.0.1", "localhost")
    outcomes = [await sender.send(connections, url=url, method="POST") for _ in range(2)]
    assert [getattr(outcome, "error_class", "ok") for outcome in outcomes] == ["ok", "throttled"]
    assert [seen.path_qs for seen in receiver.seen] == ["/to", "/limited", "/to"]
    assert outcomes[1].maybe_done, "the first host has got it"
