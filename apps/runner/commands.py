"""Commands of ``faust -A apps.runner.app``."""

from typing import TYPE_CHECKING, Any

import aiohttp
from faust.cli import AppCommand, option

if TYPE_CHECKING:
    from apps.runner.app import RunnerApp

_REFUSED = (401, 403)


def install(app: "RunnerApp") -> None:
    """Add the commands to ``app``."""

    @app.command(
        option("--url", default="http://127.0.0.1:8083", show_default=True, help="A running worker of the runner."),
        option("--token", default="", envvar="WF_TOKEN", show_envvar=True, help="Who asks, where the runner wants to know."),
    )
    async def busy(self: AppCommand, url: str, token: str) -> None:
        """Show who is busy and the retry counters, as a running worker sees them."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.get(f"{url}/busy", raise_for_status=True) as answer,
            ):
                items: list[dict[str, Any]] = (await answer.json())["items"]
        except aiohttp.ClientResponseError as error:
            mend = "give a token of scope viewer in WF_TOKEN" if error.status in _REFUSED else "name a runner with --url"
            raise self.UsageError(f"{url} answers {error.status} {error.message}; {mend}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self.UsageError(f"no runner answers at {url} ({error}); start one, or name another with --url") from error
        if not items:
            self.say("Nobody is busy.")
            return
        columns = ["workflow", "status", "execution", "since", "attempts used"]
        rows = [
            [item["workflowId"], item["status"], item["executionId"], item["since"], str(item["attemptsUsed"])]
            for item in items
        ]
        self.say(self.tabulate(rows, headers=columns, title="Busy"))
