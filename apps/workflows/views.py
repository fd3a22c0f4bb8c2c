"""The base of the web views: errors become problems, JSON is written by orjson."""

from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web as aiohttp_web
from faust import web

from apps.workflows import problems

if TYPE_CHECKING:
    from apps.workflows.app import WorkflowsApp


class Resource(web.View):
    """A view of one resource; ``view_path`` is relative to the prefix that it is added under."""

    app: "WorkflowsApp"

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
            response = await self.methods[request.method.lower()](request, **request.match_info)
        except Exception as error:
            response = problems.answer(error)
        finally:
            sensors.on_web_request_end(self.app, request, response, state, view=self)
        return response

    def answer(self, value: Any, *, status: int = 200, location: str | None = None) -> aiohttp_web.Response:
        """Return ``value`` as JSON."""
        headers = {"Content-Type": "application/json"}
        if location is not None:
            headers["Location"] = location
        return aiohttp_web.Response(body=orjson.dumps(value), status=status, headers=headers)
