"""``/system``: how the services are."""

from typing import Any, ClassVar, Final

from aiohttp import web

from apps.operations import Answer, Operation
from apps.workflows.answers.system import SystemShown
from apps.workflows.views import Resource


class SystemState(Resource):
    """The state of the whole system, as far as the API can know it."""

    view_name = "system"
    view_path = "/system"
    operations: ClassVar = {
        "get": Operation(
            "getSystem",
            "Show how the services are",
            {200: Answer("Services, lag, lateness and dead letters.", SystemShown)},
            tag="system",
            uses_database=False,
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return the state; what cannot be reached is part of it, so this is answered while the rest is down."""
        return self.answer(await self.app.system.look(self.app.store, self.app.clock()))


VIEWS: Final[tuple[Any, ...]] = (SystemState,)
