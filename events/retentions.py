"""How long the topics keep their records.

Nothing that is open needs a topic to be kept: MongoDB says what it takes to go on. Requests and results are kept so that
the history can be told by them (``wf verify``, ``wf rebuild``), and for as long as nobody may be there to consume them.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Retentions:
    """What the operator sets."""

    history: timedelta = timedelta(days=31)  # requests and results
    dead_letters: timedelta = timedelta(days=30)
