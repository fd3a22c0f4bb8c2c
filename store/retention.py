"""How long documents are kept: an index by which the server removes them when they are old enough.

It lies on the instant that a document carries anyway, so that a retention that is changed counts for what was stored before.
"""

from datetime import timedelta
from typing import Any, Final

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import OperationFailure

NAME: Final = "retention"
_IS_THERE_OTHERWISE: Final = (85, 86)  # the codes that say so; which of them depends on the server


async def keep(
    collection: AsyncCollection[dict[str, Any]], field: str, retention: timedelta, *, change: bool = True
) -> None:
    """Have documents removed ``retention`` after the instant in ``field``; a retention that is set is left, or changed."""
    seconds = max(1, int(retention.total_seconds()))
    index = IndexModel([(field, ASCENDING)], name=NAME, expireAfterSeconds=seconds)
    try:
        await collection.create_indexes([index])
    except OperationFailure as error:
        if error.code not in _IS_THERE_OTHERWISE:
            raise
        if change:
            await collection.database.command(
                "collMod", collection.name, index={"name": NAME, "expireAfterSeconds": seconds}
            )
