"""Where MongoDB is: whether what is written for that can be one."""

import re
from typing import Final

from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

_LONGEST_NAME: Final = 63  # bytes
_NOT_IN_A_NAME: Final = frozenset(' ."$/\\\0')


def check_database_name(name: str) -> None:
    """Look whether a database can be called that.

    Raises:
        ValueError: it cannot.
    """
    if not 1 <= len(name.encode()) <= _LONGEST_NAME or not _NOT_IN_A_NAME.isdisjoint(name):
        raise ValueError(f'must be 1 to {_LONGEST_NAME} bytes long, without blanks and any of . " $ / \\')


def check_connection_string(url: str) -> None:
    """Look into a connection string, without asking anybody.

    Raises:
        ValueError: it is malformed, or names a file that is not there.
    """
    hosts = re.split("[/?]", url.partition("://")[2], maxsplit=1)[0].rpartition("@")[2]
    if re.search(r"\s", hosts):  # the driver takes it for a part of the name, which nobody would ever be found under
        raise ValueError(f"{hosts!r} holds a blank; write mongodb://host:port[,host:port] without any")
    # The name server would be asked where the servers of mongodb+srv are: it may be away now and back when that matters.
    if url.startswith("mongodb+srv://"):
        return
    try:
        parse_uri(url, warn=True)
    except (PyMongoError, OSError) as error:
        raise ValueError(str(error)) from error


def lacks_password(url: str) -> bool:
    """Tell whether a good connection string names a user who has to prove himself by a password that it does not give."""
    if url.startswith("mongodb+srv://"):
        return False
    parts = parse_uri(url)
    by_password = parts["options"].get("authMechanism", "SCRAM").startswith("SCRAM")
    return by_password and bool(parts["username"]) and not parts["password"]
