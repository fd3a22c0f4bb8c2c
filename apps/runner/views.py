"""What the runner shows of its tables over HTTP."""

from typing import TYPE_CHECKING, Any

from faust import web

from apps.runner.tables import Busy

if TYPE_CHECKING:
    from apps.runner.app import RunnerApp


def install(app: "RunnerApp") -> None:
    """Serve ``/busy`` (what this worker holds) and ``/busy/{workflow_id}`` (routed to the worker that holds it)."""
    tables = app.tables_of_runner

    def row(workflow_id: str) -> dict[str, Any]:
        busy: Busy | None = tables.busy.get(workflow_id)
        return {
            "workflowId": workflow_id,
            "status": "idle" if busy is None else ("busy" if busy.state == "running" else "pending"),
            "executionId": busy.execution_id if busy else None,
            "since": busy.since if busy else None,
            "wakeAt": busy.wake_at if busy else None,
            "attemptsUsed": tables.retries.get(workflow_id) or 0,
        }

    @app.page("/busy")
    class BusyList(web.View):
        """Everyone who is busy on this worker."""

        async def get(self, request: web.Request) -> web.Response:
            return self.json({"items": [row(workflow_id) for workflow_id in sorted(tables.busy.keys())]})

    @app.page("/busy/{workflow_id}")
    class BusyOne(web.View):
        """One workflow, asked of the worker that holds its partition."""

        @app.table_route(table=tables.busy, match_info="workflow_id")  # type: ignore[arg-type]
        async def get(self, request: web.Request, workflow_id: str) -> web.Response:
            return self.json(row(workflow_id))
