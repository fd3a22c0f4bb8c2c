"""``GET /events/stream``: live updates as Server-Sent Events.

A stream may last for days, so who reads it is looked at again and again: it ends when the token is revoked or expires.
"""

from typing import Annotated, Any, ClassVar, Final

from aiohttp import hdrs, web
from pydantic import Field

from apps.access import AccessError
from apps.operations import Answer, Operation
from apps.workflows.live import Update, Watcher
from apps.workflows.queries import Query, read_query
from apps.workflows.views import Resource
from domain.identifiers import EXECUTION_ID_PATTERN, EXECUTION_ID_RULE, WORKFLOW_ID_PATTERN
from store.interfaces import StoreUnavailable

# Seconds; proxies close connections on which nothing is said for a minute, and a revoked token is good no longer than this.
HEARTBEAT: Final = 5.0
RECONNECT_AFTER: Final = 1_000  # milliseconds


class StreamQuery(Query):
    """What to watch; everything where nothing is said."""

    workflow_id: Annotated[str, Field(pattern=WORKFLOW_ID_PATTERN)] | None = None
    execution_id: Annotated[str, Field(pattern=EXECUTION_ID_PATTERN, description=EXECUTION_ID_RULE)] | None = None


class Stream(Resource):
    """What happens, while it happens."""

    view_name = "events-stream"
    view_path = "/events/stream"
    operations: ClassVar = {
        "get": Operation(
            "streamEvents",
            "Follow what happens, as Server-Sent Events",
            {200: Answer("Events, until the caller goes.", content_type="text/event-stream")},
            tag="system",
            query=StreamQuery,
            uses_database=False,
        )
    }

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send updates until the client goes away or the service stops."""
        query = read_query(StreamQuery, request)
        response = web.StreamResponse(
            headers={
                hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
                hdrs.CACHE_CONTROL: "no-store",
                # Some proxies collect an answer before they pass it on, unless told not to.
                "X-Accel-Buffering": "no",
            }
        )
        feed = self.app.live
        async with feed.watch(query.workflow_id, query.execution_id, request.headers.get("Last-Event-ID")) as watcher:
            try:
                await response.prepare(request)
                await response.write(f"retry: {RECONNECT_AFTER}\n\n".encode())
                if feed.positioned.is_set():
                    await response.write(f"event: hello\nid: {feed.id_of(None)}\ndata: {{}}\n\n".encode())
                while not watcher.closed:
                    updates = await watcher.take(HEARTBEAT)
                    if not await self._may_go_on(request):
                        break
                    await response.write(self._written(watcher, updates) or b": still here\n\n")
                await response.write_eof()
            except (ConnectionError, RuntimeError):
                pass  # the client went away
        return response

    async def _may_go_on(self, request: web.Request) -> bool:
        try:
            await self.app.gate.identify(request)
        except AccessError:
            return False
        except StoreUnavailable:
            pass  # nobody is thrown out because it cannot be known who they are
        return True

    def _written(self, watcher: Watcher, updates: list[Update]) -> bytes:
        written = bytearray()
        if watcher.missed:
            watcher.missed = False
            written += f"event: gap\nid: {self.app.live.id_of(None)}\ndata: {{}}\n\n".encode()
        for update in updates:
            written += f"event: {update.name}\nid: {self.app.live.id_of(update)}\ndata: ".encode()
            written += update.written + b"\n\n"
        return bytes(written)


VIEWS: Final[tuple[Any, ...]] = (Stream,)
