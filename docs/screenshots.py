"""Makes the pictures in ``docs/images``: starts a stack of its own, lets it work a while, and looks at every view.

make screenshots
"""

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports
from tests.dashboard.browser import chromium

IMAGES = Path(__file__).parent / "images"
DESK = {"width": 1240, "height": 860}
PHONE = {"width": 375, "height": 760}
KEPT = {
    *((name, "light") for name in ("workflows", "workflow", "editor", "executions", "execution", "system")),
    ("execution", "dark"),
    ("workflows", "phone"),
}
NAMES = [
    ("nightly-report", {"type": "periodic", "interval": "1h", "allowManual": True}),
    ("invoice-export", {"type": "periodic", "interval": "2s", "allowManual": True}),
    ("sync-customers", {"type": "periodic", "interval": "5s", "allowManual": True}),
    ("welcome-mail", {"type": "manual"}),
    ("rebuild-search-index", {"type": "manual"}),
    ("warm-cache", {"type": "periodic", "interval": "3s"}),
    ("price-feed", {"type": "periodic", "interval": "30m"}),
    ("close-tickets", {"type": "periodic", "interval": "24h", "allowManual": True}),
]


@asynccontextmanager
async def target() -> AsyncIterator[str]:
    """Serve what the workflows call: each path fails its own share of requests."""
    counts: dict[str, int] = {}

    async def answer(request: web.Request) -> web.Response:
        path = request.path
        counts[path] = counts.get(path, 0) + 1
        await asyncio.sleep(0.04 + 0.9 * ("index" in path) + 0.12 * ("export" in path))
        if path.startswith("/down") or (path.startswith("/shaky") and counts[path] % 5 == 2):
            return web.json_response({"error": "the database is being moved"}, status=503)
        return web.json_response({"path": path, "done": True})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 8099)
    await site.start()
    yield "http://127.0.0.1:8099"
    await runner.cleanup()


async def populate(api: str, shop: str) -> dict[str, str]:
    """Define workflows and run them; return executions worth looking at."""
    async with aiohttp.ClientSession() as session:

        async def call(method: str, path: str, body: Any = None) -> Any:
            async with session.request(method, api + path, json=body) as response:
                return await response.json() if response.status != 204 else None

        async def ended(execution_id: str) -> None:
            for _ in range(600):
                if (await call("GET", f"/executions/{execution_id}"))["status"] not in ("pending", "running"):
                    return
                await asyncio.sleep(0.1)

        for name, trigger in NAMES:
            place = "shaky" if name in ("invoice-export", "sync-customers") else "well"
            body = {
                "workflowId": name,
                "trigger": trigger,
                "retries": 0 if name == "sync-customers" else 3,
                "backoff": {"base": "1s", "cap": "2s"},
                "actions": [
                    {"type": "log", "actionId": "begin", "message": f"{name} begins"},
                    {"type": "http-request", "actionId": "fetch", "method": "GET", "url": f"{shop}/well/{name}"},
                    {"type": "http-request", "actionId": "deliver", "method": "POST", "url": f"{shop}/{place}/{name}"},
                ],
            }
            await call("POST", "/workflows", body)
        await call("PUT", "/workflows/nightly-report", {
            "trigger": {"type": "periodic", "interval": "1h", "allowManual": True},
            "retries": 3,
            "actions": [
                {"type": "log", "actionId": "begin", "message": "collecting"},
                {"type": "http-request", "actionId": "fetch", "method": "GET", "url": f"{shop}/well/orders"},
                {"type": "http-request", "actionId": "render", "method": "PUT", "url": f"{shop}/well/render"},
                {"type": "http-request", "actionId": "deliver", "method": "POST", "url": f"{shop}/well/nightly-report"},
            ],
        })  # fmt: skip
        await call("POST", "/workflows", {
            "workflowId": "order-confirmation",
            "trigger": {"type": "manual"},
            "backoff": {"base": "2s", "factor": 2, "cap": "60s", "jitter": "none"},
            "retries": 6,
            "actions": [
                {"type": "log", "actionId": "begin", "message": "order 4711"},
                {"type": "http-request", "actionId": "reserve", "method": "POST", "url": f"{shop}/well/reserve"},
                {"type": "http-request", "actionId": "charge", "method": "POST", "url": f"{shop}/down/charge"},
                {"type": "http-request", "actionId": "notify", "method": "POST", "url": f"{shop}/well/notify"},
            ],
        })  # fmt: skip
        waiting = (await call("POST", "/workflows/order-confirmation/trigger"))["executionId"]
        for name in ("nightly-report", "welcome-mail", "rebuild-search-index", "close-tickets") * 5:
            started = await call("POST", f"/workflows/{name}/trigger")
            await ended(started["executionId"])
        await asyncio.sleep(16)
        failed = (await call("GET", "/executions?workflowId=sync-customers&status=failed"))["items"]
        return {"waiting": waiting, "failed": failed[0]["executionId"] if failed else waiting}


async def look(api: str, found: dict[str, str], folder: Path) -> None:
    """Take the pictures."""
    views = {
        "workflows": "#/workflows",
        "workflow": "#/workflows/nightly-report",
        "editor": "#/workflows/nightly-report/edit",
        "executions": "#/executions",
        "execution": f"#/executions/{found['waiting']}",
        "failed": f"#/executions/{found['failed']}",
        "system": "#/system",
    }
    looks: dict[str, dict[str, Any]] = {
        "light": {"viewport": DESK, "color_scheme": "light"},
        "dark": {"viewport": DESK, "color_scheme": "dark"},
        "phone": {"viewport": PHONE, "color_scheme": "light", "device_scale_factor": 2},
    }
    for look_name, options in looks.items():
        async with chromium(**options) as browser:
            page = await browser.new_page()
            for name, address in views.items():
                if (name, look_name) not in KEPT:
                    continue
                await page.goto(f"{api}/{address}")
                await page.wait_for_selector("h1")
                await page.wait_for_selector("[aria-busy]", state="detached")
                await page.wait_for_timeout(900)
                await page.screenshot(path=folder / f"{name}-{look_name}.png")


async def main(folder: Path) -> None:
    """Start everything, look, stop everything."""
    with tempfile.TemporaryDirectory() as data:
        settings = on_free_ports(StandaloneSettings(data_dir=Path(data)))
        async with Stack(settings, environment={"SCHEDULER_INTERVAL": "1"}) as stack, target() as shop:
            await look(stack.api_url, await populate(stack.api_url, shop), folder)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES))
