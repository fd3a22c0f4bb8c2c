"""The state of the system, also while parts of it are away."""

from apps.workflows.app import WorkflowsApp
from apps.workflows.kafka_state import GroupState, KafkaState
from apps.workflows.system import System
from store.interfaces import Heartbeat
from tests.workflows.client import Client
from tests.workflows.clock import Clock
from tests.workflows.memory import MemoryStore


async def kafka() -> KafkaState:
    return KafkaState({"runner": GroupState("Stable", [{"id": "a", "host": "h"}], {"workflow.execution": 3})}, 2)


async def away() -> KafkaState:
    raise OSError("no broker")


async def test_what_is_known(app: WorkflowsApp, api: Client, store: MemoryStore, clock: Clock) -> None:
    monotonic = Clock()
    app.system = System(kafka, timeout=1, clock=lambda: monotonic.now.timestamp())
    await api.create("late", trigger={"type": "periodic", "interval": "10s"})
    clock.move(12)
    await store.runners.beat(Heartbeat("r1", 1, {"host": "h", "pid": 7, "started_at": clock.now}))
    found = (await api.get("/v1/system")).body
    assert (found["database"], found["kafka"], found["deadLetters"]) == ("ok", "ok", 2)
    assert found["consumers"]["runner"]["lag"] == {"workflow.execution": 3}
    assert found["scheduler"]["latenessSeconds"] == 2.0
    assert [(r["host"], r["pid"], r["status"]) for r in found["runners"]] == [("h", 7, "seen")]
    await store.runners.beat(Heartbeat("r1", 2, {}))
    assert (await api.get("/system")).body["runners"][0]["status"] == "alive"
    monotonic.move(60)
    assert (await api.get("/system")).body["runners"][0]["status"] == "silent"


async def test_a_runner_that_is_gone_is_forgotten(app: WorkflowsApp, api: Client, store: MemoryStore) -> None:
    monotonic = Clock()
    app.system = System(kafka, timeout=1, clock=lambda: monotonic.now.timestamp())
    await store.runners.beat(Heartbeat("r1", 1, {}))
    await api.get("/system")
    await store.runners.remove("r1")
    assert (await api.get("/system")).body["runners"] == []
    monotonic.move(60)
    await store.runners.beat(Heartbeat("r1", 1, {}))
    assert [(each["status"], each["silentSeconds"]) for each in (await api.get("/system")).body["runners"]] == [("seen", 0)]


async def test_it_answers_while_everything_else_is_away(app: WorkflowsApp, api: Client, store: MemoryStore) -> None:
    app.system = System(away, timeout=1, clock=lambda: 0.0)
    store.network.down = True
    answer = await api.get("/system")
    assert answer.status == 200
    assert (answer.body["database"], answer.body["kafka"]) == ("unreachable", "unreachable")
