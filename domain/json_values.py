"""JSON values that some reader of JSON would not take, or would take for something else."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

DEEPEST: Final = 64  # levels of arrays and objects: orjson writes 254, MongoDB keeps 100
TOO_DEEP: Final = f"is nested deeper than {DEEPEST} levels; flatten it"


def odd_values(value: Any) -> Iterator[tuple[str, str]]:
    """Yield where in a JSON value (as in ``items[0].name``) something is odd, and how it must be.

    Odd are numbers that do not fit into 64 bits or are none, halves of surrogate pairs, and what is nested deeper than
    :data:`DEEPEST`. Time and memory are linear in the size of the value, however long its names are and however deep it is.
    """
    path: list[str | int] = []
    levels: list[Iterator[tuple[str | int, Any]]] = [iter([("", value)])]
    while levels:
        for part, item in levels[-1]:
            if isinstance(part, str) and not part.isascii() and (message := _oddity(part)) is not None:
                yield _joined(path), message
            if isinstance(item, str) and item.isascii():  # by far the most, and every body of a request passes here
                continue
            if isinstance(item, dict | list):
                if len(path) == DEEPEST:
                    yield _joined(path), TOO_DEEP
                    continue
                path.append(part)
                levels.append(iter(item.items() if isinstance(item, dict) else enumerate(item)))
                break
            if (message := _oddity(item)) is not None:
                yield _joined([*path, part]), message
        else:
            levels.pop()
            if path:
                path.pop()


def integer(digits: str) -> int:
    """Return the integer of which these are the digits, or one that is just as odd.

    Python refuses to read thousands of digits, for the time that it takes grows with the square of their number.
    """
    return int(digits[:21])


def read_json(text: str, twice: Callable[[str], Exception], **options: Any) -> Any:
    """Return the value that a JSON text holds; of a key that one object holds twice ``twice`` makes what is raised.

    Raises:
        json.JSONDecodeError: it is not JSON.
        RecursionError: it is nested much too deep.
    """

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        key = key_given_twice(pairs)
        if key is not None:
            raise twice(key)
        return dict(pairs)

    return json.loads(text, object_pairs_hook=made, parse_int=integer, **options)


def key_given_twice(pairs: Sequence[tuple[str, Any]]) -> str | None:
    """Return the first key that an object holds twice, of which a reader of JSON would take the last."""
    if len(dict(pairs)) == len(pairs):
        return None
    seen: set[str] = set()
    return next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def _oddity(item: Any) -> str | None:
    if isinstance(item, str):
        try:
            item.encode()
        except UnicodeEncodeError:
            return "holds half of a surrogate pair; send both halves"
    elif isinstance(item, int):
        if not -(2**63) <= item < 2**63:
            return "does not fit into 64 bits; write it as a string"
    elif isinstance(item, float) and not math.isfinite(item):
        return "is not a number that JSON can hold; write it as a string"
    return None


def _joined(path: Iterable[str | int]) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path if part != "")
    return text.lstrip(".").encode(errors="replace").decode()
