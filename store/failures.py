"""The one place where the driver's errors become the store's."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bson.errors import BSONError
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from store.interfaces import StoreRefused, StoreUnavailable, Unstorable

DUPLICATE_KEY = 11000
_TOO_LARGE = frozenset({10334, 17419, 17420})  # a document: any, and two ways to update one


@asynccontextmanager
async def translated() -> AsyncIterator[None]:
    """Raise StoreUnavailable where the driver could not reach the server, the server refused, or nothing could be sent.

    DuplicateKeyError, of a single insert, passes: to its caller it is an answer. Whoever means to read the errors of a bulk
    item by item catches BulkWriteError inside.
    """
    try:
        yield
    except DuplicateKeyError:
        raise
    except BulkWriteError as error:
        raise (refused(error) or StoreRefused(f"MongoDB refused the write: {error}")) from error
    except ConnectionFailure as error:
        raise StoreUnavailable(f"MongoDB cannot be reached: {error}") from error
    except ExecutionTimeout as error:
        raise StoreUnavailable(f"MongoDB took too long: {error}") from error
    except OperationFailure as error:
        raise StoreRefused(f"MongoDB refused the operation: {error}") from error
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB failed: {error}") from error
    except (BSONError, OverflowError, UnicodeEncodeError) as error:
        raise Unstorable(f"MongoDB cannot keep this: {error}") from error


def duplicates(error: BulkWriteError) -> Sequence[int]:
    """Return the places, in a bulk write, of what was there already.

    Raises:
        StoreRefused: that is not all that went wrong.
    """
    problem = refused(error)
    if problem is not None:
        raise problem from error
    return [found["index"] for found in (error.details or {}).get("writeErrors", ())]


def refused(error: BulkWriteError) -> StoreRefused | None:
    """Return what a bulk write says beyond duplicate keys (a full disk, a document that is too large)."""
    details = error.details or {}
    for problem in [*details.get("writeConcernErrors", ()), *details.get("writeErrors", ())]:
        code = problem.get("code")
        if code != DUPLICATE_KEY:
            kind = Unstorable if code in _TOO_LARGE else StoreRefused
            return kind(f"MongoDB refused the write: {problem.get('errmsg', problem)}")
    return None
