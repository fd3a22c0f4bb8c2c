"""The scheduler's own page: what it is about to do, and how punctual it was."""

from datetime import datetime
from typing import Any

from faust import web

from apps.scheduler.agenda import Agenda
from apps.scheduler.metrics import Metrics
from apps.service import ServiceApp


def summary(agenda: Agenda, metrics: Metrics) -> dict[str, Any]:
    """Return what ``/agenda`` shows; latenesses are milliseconds from the due instant to the release."""
    next_due: datetime | None = agenda.next_due
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
    found = {name: metrics.percentile(share) for name, share in shares.items()}
    return {
        "shards": sorted(agenda.shards),
        "armed": len(agenda),
        "inFlight": agenda.in_flight,
        "nextDue": next_due.isoformat() if next_due else None,
        "lateness": {name: round(value * 1000, 3) for name, value in found.items() if value is not None},
        "recent": len(metrics.recent),
        "clockSkewMs": round(metrics.skew.total_seconds() * 1000, 1),
    }


def install(app: ServiceApp, agenda: Agenda, metrics: Metrics) -> None:
    """Serve the page on ``app``."""

    @app.page("/agenda")
    class AgendaView(web.View):
        async def get(self, request: web.Request) -> web.Response:
            return self.json(summary(agenda, metrics))
