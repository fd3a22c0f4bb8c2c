"""The scheduler, the only clock of the system: it fires ticks, restarts what waits and rescues what got lost.

The way of a tick through this service: ``timers`` has ``passes`` read what is due until a little after the next pass;
``ticks`` arms each in the ``agenda``, which releases it at its own instant; ``ticks`` then admits, publishes and advances
it. ``retries`` and ``orphans`` put executions that wait or were lost through the same agenda; ``agents`` arm at once what
cannot wait for a pass. Which workflows are this worker's is told by the partitions that Kafka assigned to it.
"""

from apps import lean as lean
