"""The base of the web views: errors become problems, answers are written as JSON."""

import asyncio
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from aiohttp import web as aiohttp_web
from faust import web

from apps.access import SAFE
from apps.operations import Operation, operation_of
from apps.workflows import auditing, idempotency, problems
from apps.workflows.queries import Query, read_query
from events.wire import json_bytes
from store.interfaces import StoreUnavailable

if TYPE_CHECKING:
    from apps.workflows.app import WorkflowsApp


PATIENCE: Final = 10.0  # seconds
COMPRESSED_FROM: Final = 2048  # bytes; what is shorter fits into a packet or two anyway

_going_on: set[asyncio.Task[Any]] = set()


def _let_go(task: asyncio.Task[Any]) -> None:
    _going_on.discard(task)
    if not task.cancelled():
        task.exception()  # which nobody may wait for any more


class Resource(web.View):
    """A view of one resource; ``view_path`` is relative to the prefix that it is added under."""

    app: "WorkflowsApp"
    operations: ClassVar[Mapping[str, Operation]] = {}

    def get_methods(self) -> set[str]:
        """Return the methods that this view takes; Faust would add HEAD where there is no GET."""
        methods = super().get_methods()
        return methods if "GET" in methods else methods - {"HEAD"}

    async def dispatch(self, request: Any) -> Any:
        """Answer a request; what a handler raises is answered as a problem."""
        # Faust's own dispatch lets what is not a WebError through, and its sensors would count every problem as a 500.
        sensors = self.app.sensors
        state = sensors.on_web_request_start(self.app, request, view=self)
        response: Any = None
        try:
            response = await (self._read if request.method in SAFE else self._change)(request)
        except Exception as error:
            response = problems.answer(error)
        finally:
            sensors.on_web_request_end(self.app, request, response, state, view=self)
        return response

    async def _read(self, request: Any) -> Any:
        operation = operation_of(self, request.method)
        if operation is not None and operation.query is None and not operation.lets_parameters_be:
            read_query(Query, request)  # where some are declared, the handler reads them
        response = await self.methods[request.method.lower()](request, **request.match_info)
        body = getattr(response, "body", None)
        if isinstance(body, bytes) and len(body) > COMPRESSED_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
            response.enable_compression(aiohttp_web.ContentCoding.gzip)
            response.headers["Vary"] = "Accept-Encoding"
        return response

    async def _change(self, request: Any) -> Any:
        """Carry out a change: once for each Idempotency-Key, and into the audit log."""
        operation = operation_of(self, request.method)
        if request.query_string and (operation is None or not operation.lets_parameters_be):
            # ?dryRun=true must not store, nor ?version=1 archive whatever version is there.
            read_query(Query, request)

        async def carry_out() -> Any:
            response = await self.methods[request.method.lower()](request, **request.match_info)
            if auditing.is_recorded(request, response, operation):
                await auditing.record(request, response, operation, audit=self.app.store.audit, now=self.app.clock())
            return response

        takes_key = operation is None or operation.takes_key
        if request.method == "POST" and idempotency.HEADER in request.headers and takes_key:
            return await idempotency.once(request, carry_out, keys=self.app.store.idempotency, now=self.app.clock())
        return await carry_out()

    async def bounded(self, change: Coroutine[Any, Any, aiohttp_web.Response]) -> aiohttp_web.Response:
        """Carry out a change that asks the database several things, but do not let its caller wait for long.

        Each of them is bounded. With a database that comes and goes all of them together took longer than clients wait, who
        were told nothing then. The change goes on all the same: it may be carried out after all, as after any failure that
        does not say what became of it.

        Raises:
            StoreUnavailable: it was not done in time.
        """
        task = asyncio.get_running_loop().create_task(change)
        _going_on.add(task)
        task.add_done_callback(_let_go)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if not done:
            raise StoreUnavailable(f"not done within {PATIENCE:g} s")
        return task.result()

    def answer(
        self, value: Any, *, status: int = 200, location: str | None = None, version: int | None = None
    ) -> aiohttp_web.Response:
        """Return ``value`` as JSON."""
        headers = {"Content-Type": "application/json"}
        if location is not None:
            headers["Location"] = location
        if version is not None:
            headers["ETag"] = f'"{version}"'
        return aiohttp_web.Response(body=json_bytes(value), status=status, headers=headers)
