"""The HTTP server that the actions talk to: it records every request, and fails or takes its time as the path says."""

import asyncio
import contextlib
import hashlib
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from typing_extensions import Self

KINDS = frozenset({"quick", "slow", "flaky", "long", "held"})
FLAKY_OF_TEN = 4  # executions of which the flaky action fails at the first attempt
SLOWEST = 2.0  # seconds
LONGEST = 6.0  # seconds
HELD = (10.0, 100.0)  # seconds


@dataclass
class Received:
    """One request."""

    workflow_id: str
    key: str  # Idempotency-Key
    epoch: int
    attempt: int
    began: float  # wall clock
    ended: float = 0.0  # when it was answered, or its sender went away; 0: never
    status: int = 0  # what it was answered; 0: nothing

    @property
    def execution_id(self) -> str:
        """The execution that it belongs to."""
        return self.key.partition(":")[0]


class Receiver:
    """Runs in the driver's own process and loop."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.let_go = asyncio.Event()  # from then on nothing is held any more
        self.url = ""
        app = web.Application()
        app.router.add_route("*", "/{workflow}/{kind}", self._take)
        # Cancelled when the sender goes away: a dead runner's request must not seem to go on.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        received = Received(
            workflow_id=request.match_info["workflow"],
            key=request.headers.get("Idempotency-Key", ""),
            epoch=int(request.headers.get("Workflow-Epoch", "0")),
            attempt=int(request.headers.get("Workflow-Attempt", "0")),
            began=time.time(),
        )
        self.requests.append(received)
        chance = hashlib.sha256(received.key.encode()).digest()
        try:
            if kind == "slow":
                await asyncio.sleep(_between(0.2, SLOWEST, chance[1]))
            elif kind == "long":
                await asyncio.sleep(_between(0.2, LONGEST, chance[1]))
            elif kind == "held":
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.let_go.wait(), _between(*HELD, chance[1]))
            received.status = 503 if kind == "flaky" and received.attempt == 1 and chance[0] % 10 < FLAKY_OF_TEN else 200
            return web.Response(status=received.status, text=kind)
        finally:
            received.ended = time.time()


def _between(least: float, most: float, chance: int) -> float:
    return least + chance / 255 * (most - least)
