"""The Faust tables: who is busy, and how many attempts are used up.

They are what the ``faust`` command line and the web view show. Nothing is decided by them: the lock of an open execution,
which is in MongoDB, turns down an overlapping request. Only the agents' events write them.
"""

from datetime import datetime
from typing import Optional

import faust

from events.topics import PARTITIONS


class Busy(faust.Record, include_metadata=False, namespace="runner.Busy"):
    """The open execution of a workflow, as this runner's stream has seen it."""

    execution_id: str
    epoch: int
    state: str  # running or waiting
    since: datetime
    wake_at: Optional[datetime] = None


class Tables:
    """The two tables of the runner; keys are workflow ids."""

    def __init__(self, app: faust.App) -> None:
        self.busy = app.Table(
            "busy", key_type=str, value_type=Busy, partitions=PARTITIONS, help="Who is busy: workflow -> open execution."
        )
        self.retries = app.Table(
            "retries", key_type=str, value_type=int, partitions=PARTITIONS, help="Attempts used: workflow -> count."
        )
