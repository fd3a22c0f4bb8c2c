"""Where MongoDB is: whether what is written for that can be one."""

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri


def check_connection_string(url: str) -> None:
    """Look into a connection string, without asking anybody.

    Raises:
        ValueError: it is malformed, or names a file that is not there.
    """
    # The name server would be asked where the servers of mongodb+srv are: it may be away now and back when that matters.
    if url.startswith("mongodb+srv://"):
        return
    try:
        parse_uri(url, warn=True)
    except (PyMongoError, OSError) as error:
        raise ValueError(str(error)) from error
