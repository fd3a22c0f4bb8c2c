"""Triggers, and the arithmetic of when a workflow is next due.

A periodic workflow is due on the grid ``anchor + k * interval`` with k = 1, 2, …; where on the grid it stands never
depends on when the last run began, ended or was released, so the cadence cannot drift.
"""

from datetime import datetime
from typing import Annotated, Literal, Union

from pydantic import Field

from domain.durations import Duration, parse_duration
from domain.model import Model


class ManualTrigger(Model):
    """Runs when someone asks for it."""

    type: Literal["manual"]


class PeriodicTrigger(Model):
    """Runs every ``interval``."""

    type: Literal["periodic"]
    interval: Duration = Field(description="Time from one tick to the next, as in 10s, 5m or 1h.")
    allow_manual: bool = Field(default=False, description="Whether it may also be triggered by hand.")


Trigger = Annotated[Union[ManualTrigger, PeriodicTrigger], Field(discriminator="type")]


def next_due(trigger: Trigger, anchor: datetime, after: datetime) -> datetime | None:
    """Return the first due instant later than ``after``, or None where the trigger has no ticks.

    ``anchor`` is the instant the grid stands on: when this trigger was first stored.
    """
    if isinstance(trigger, ManualTrigger):
        return None
    interval = parse_duration(trigger.interval)
    if after < anchor:
        return anchor + interval
    return anchor + ((after - anchor) // interval + 1) * interval


def allows_manual(trigger: Trigger) -> bool:
    """Tell whether the workflow may be triggered by hand."""
    return isinstance(trigger, ManualTrigger) or trigger.allow_manual
