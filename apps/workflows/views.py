"""The base of the web views: errors become problems, answers are written as JSON."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from aiohttp import web as aiohttp_web
from faust import web

from apps.access import SAFE
from apps.operations import Operation, operation_of
from apps.workflows import auditing, idempotency, problems
from apps.workflows.queries import Query, read_query
from events.wire import json_bytes

if TYPE_CHECKING:
    from apps.workflows.app import WorkflowsApp


COMPRESSED_FROM: Final = 2048  # bytes; what is shorter fits into a packet or two anyway


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
