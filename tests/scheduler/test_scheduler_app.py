"""The composition: Faust swallows import errors of scanned modules, so what should be there is asserted."""

import asyncio
import importlib
import pkgutil

import pytest
from faust.types import TP

import apps.scheduler
from apps.scheduler import timers
from apps.scheduler.app import create_app
from apps.scheduler.settings import SchedulerSettings
from events.topics import ACTION_RESULT, SCHEDULE


class Passes:
    """Counts the passes that are asked for."""

    def __init__(self):
        self.made = []

    async def watch_runners(self):
        self.made.append("runners")

    async def watch_requests(self):
        self.made.append("requests")

    async def compare_clocks(self):
        self.made.append("clocks")

    async def look_ahead(self):
        self.made.append("ahead")


@pytest.fixture
def app(tmp_path):
    return create_app(SchedulerSettings(data_dir=tmp_path))


def test_every_module_is_importable():
    names = [module.name for module in pkgutil.iter_modules(apps.scheduler.__path__)]
    assert {"agenda", "agents", "app", "orphans", "retention", "retries", "ticks", "timers", "views"} <= set(names)
    for name in names:
        importlib.import_module(f"apps.scheduler.{name}")


def test_agent_and_timers_are_there(app):
    assert [agent.channel.get_topic_name() for agent in app.agents.values()] == [SCHEDULE.name]
    assert app.conf.web_port == 8082
    assert len(app._app_tasks) == 5


def test_settings_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("SCHEDULER_INTERVAL", "2")
    monkeypatch.setenv("MAX_LOST_ATTEMPTS", "7")
    settings = SchedulerSettings()
    assert (settings.scheduler_interval, settings.max_lost_attempts) == (2, 7)
    assert settings.lookahead.total_seconds() > 2


async def test_shards_follow_the_assignment_and_a_pass_follows_at_once(app, monkeypatch):
    futures = []
    monkeypatch.setattr(app, "add_future", futures.append)
    monkeypatch.setattr(timers, "_LATER_LOOKS", (0.0, 0.0))
    app.passes = Passes()
    app.rebalancing = True
    await app._take_shards(app, {TP(SCHEDULE.name, 1), TP(SCHEDULE.name, 5), TP(ACTION_RESULT.name, 2)})
    assert app.agenda.shards == {1, 5}
    waiting = asyncio.ensure_future(futures[0])
    await asyncio.sleep(0)
    assert app.passes.made == []
    app.rebalancing = False
    await asyncio.wait_for(waiting, 10)
    assert app.passes.made == ["runners", "requests", "ahead", "clocks", "ahead", "ahead"]
    await app.on_partitions_revoked.send({TP(SCHEDULE.name, 1), TP(SCHEDULE.name, 5)})
    assert app.agenda.shards == {1, 5}, "nobody else looks after them until the rebalance is over"
    await app._take_shards(app, {TP(SCHEDULE.name, 5)})
    assert app.agenda.shards == {5}
    futures[-1].close()
