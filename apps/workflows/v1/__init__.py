"""Version 1 of the API, one module per resource.

Its addresses stand under ``/v1`` and, as long as it is the newest, under no prefix; a version 2 becomes a package beside
this one with an ``install`` of its own. ``Location`` always names the versioned address.
"""

from typing import Final

from faust.types import AppT

from apps.workflows.v1 import (
    backfills,
    dead_letters,
    executions,
    schedules,
    secrets,
    signals,
    stream,
    system,
    tokens,
    validation,
    variables,
    versions,
    webhooks,
    workflows,
)

PREFIX: Final = "/v1"
VIEWS: Final = (
    *workflows.VIEWS,
    *webhooks.VIEWS,
    *validation.VIEWS,
    *versions.VIEWS,
    *schedules.VIEWS,
    *backfills.VIEWS,
    *executions.VIEWS,
    *signals.VIEWS,
    *secrets.VIEWS,
    *variables.VIEWS,
    *dead_letters.VIEWS,
    *tokens.VIEWS,
    *stream.VIEWS,
    *system.VIEWS,
)


def install(app: AppT) -> None:
    """Add the routes to the web server of ``app``."""
    for prefix in ("", PREFIX):
        for view in VIEWS:
            app.web.add_view(view, prefix=prefix)
