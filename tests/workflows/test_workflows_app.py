"""What the composition root puts together."""

from apps.workflows import v1
from apps.workflows.app import WorkflowsApp
from tests.workflows.client import Client
from tests.workflows.memory import MemoryStore


def test_every_view_stands_under_both_prefixes(app: WorkflowsApp) -> None:
    paths = {resource.canonical for resource in app.web.web_app.router.resources()}
    for view in v1.VIEWS:
        assert {view.view_path, f"/v1{view.view_path}"} <= paths


def test_it_consumes_nothing(app: WorkflowsApp) -> None:
    assert app.producer_only
    assert not app.agents
    assert not app.tables


async def test_health(api: Client) -> None:
    assert (await api.get("/health")).body["status"] == "ok"


async def test_not_ready_without_the_database(api: Client, store: MemoryStore) -> None:
    store.network.down = True
    answer = await api.get("/ready")
    assert answer.status == 503
    assert answer.body["checks"]["mongodb"] != "ok"


async def test_problems_are_counted_by_their_status(app: WorkflowsApp, api: Client) -> None:
    app.sensors.add(app.monitor)  # as Faust does when it starts
    await api.get("/workflows/a")
    async with api.session.get(api.server.make_url("/metrics")) as response:
        assert 'workflows_http_status_codes_total{status_code="404"} 1.0' in (await response.text()).splitlines()
