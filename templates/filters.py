"""What templates may call: filters, tests and methods, all over JSON values, all within the budget.

They stand in for Jinja2's own, several of which make things as large as they are told to, or reach into objects.
"""

import base64
import hashlib
import hmac
import json
import math
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Set
from datetime import timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from jinja2.runtime import Undefined
from pydantic import TypeAdapter, ValidationError

from domain.cron import zone_names
from domain.excerpts import excerpt
from domain.instants import INSTANT_RULE, WrittenInstant
from domain.json_values import DEEPEST
from templates.budget import CHARACTERS_PER_UNIT, LARGEST_NUMBER, charge, charge_text, charge_value
from templates.errors import RenderError

LONGEST_RANGE: Final = 10_000
_LONGEST_DIGITS: Final = 400
_MOST_TRIMMED: Final = 100
_INSTANT: Final = TypeAdapter(WrittenInstant)
_DIRECTIVES: Final = "%ABGHIMSVYabdfjmpuyz"  # of strftime, those that mean the same on every machine
_FARTHEST: Final = 100_000  # days or hours


def kind_of(value: Any) -> str:
    """Return what ``value`` is called in messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "an object" if isinstance(value, dict) else "no value"


def number_mend(kinds: Set[str]) -> str:
    """Return how to mend it where a number meets a text; empty where values of other kinds do."""
    return "; | int and | float make a number of a text" if kinds == {"a number", "a text"} else ""


def number(value: int | float) -> Any:
    """Return a number that JSON and 64 bits can hold."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise RenderError("a number is not finite")
    elif not -LARGEST_NUMBER - 1 <= value <= LARGEST_NUMBER:
        raise RenderError("a number does not fit into 64 bits")
    return value


def plain(value: Any) -> Any:
    """Return ``value`` as JSON data that shares nothing with what it was made of.

    Raises:
        RenderError: it is no JSON value, such as a method that was not called.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (int, float)):
        return number(value)
    charge(1)
    if isinstance(value, dict):
        return {_key(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Undefined):
        str(value)  # raises, with the name
    raise RenderError("the value is a function or a filter's intermediate result; call it, or end with | list")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    raise RenderError(f"an object's keys are texts, not {kind_of(key)}")


def to_text(value: Any) -> str:
    """Return ``value`` as it is written into a text: JSON, texts as they are, null as nothing."""
    if isinstance(value, str):
        charge_text(len(value))
        return str(value)
    if value is None:
        return ""
    if isinstance(value, (bool, int, float)):
        return json.dumps(number(value))
    return tojson(value)


def text(value: Any, what: str = "the value") -> str:
    """Return a text.

    Raises:
        RenderError: it is none (nor a number, which is written as one).
    """
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return to_text(value)
    if isinstance(value, Undefined):
        str(value)
    raise RenderError(f"{what} must be a text, not {kind_of(value)}")


def sequence(value: Any, what: str = "the value") -> list[Any]:
    """Return the items of a list, the keys of an object or the characters of a text."""
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, (list, tuple, dict, str)):
        raise RenderError(f"{what} must be a list, not {kind_of(value)}")
    charge(len(value))
    return list(value)


def whole(value: Any, what: str) -> int:
    """Return a whole number."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise RenderError(f"{what} must be a whole number, not {kind_of(value)}")
    return value


# -- texts -----------------------------------------------------------------------------------------------------------------


def lower(value: Any) -> str:
    """Return the text in small letters."""
    return text(value).lower()


def upper(value: Any) -> str:
    """Return the text in capitals."""
    return text(value).upper()


def title(value: Any) -> str:
    """Return the text with capital initials."""
    return text(value).title()


def capitalize(value: Any) -> str:
    """Return the text with a capital first letter."""
    return text(value).capitalize()


def trim(value: Any, chars: Any = None) -> str:
    """Return the text without white space (or ``chars``) at its ends."""
    source = text(value)
    if chars is None:
        return source.strip()
    # Each character at the ends is looked for in these.
    trimmed = "".join(set(text(chars, "what is trimmed")))
    if len(trimmed) > _MOST_TRIMMED:
        raise RenderError(f"trim takes at most {_MOST_TRIMMED} different characters away")
    return source.strip(trimmed)


def replace(value: Any, old: Any, new: Any) -> str:
    """Return the text with every ``old`` replaced by ``new``."""
    source, old, new = text(value), text(old, "what is replaced"), text(new, "the replacement")
    times = source.count(old)
    charge_text(len(source) + times * max(len(new) - len(old), 0))
    return source.replace(old, new)


def split(value: Any, separator: Any = None) -> list[str]:
    """Return the parts of the text between ``separator`` (white space where absent)."""
    source = text(value)
    if separator == "":
        raise RenderError("the separator of split must not be empty")
    charge(len(source))
    return source.split(None if separator is None else text(separator, "the separator"))


def startswith(value: Any, prefix: Any) -> bool:
    """Tell whether the text begins with ``prefix``."""
    return text(value).startswith(text(prefix, "the prefix"))


def endswith(value: Any, suffix: Any) -> bool:
    """Tell whether the text ends with ``suffix``."""
    return text(value).endswith(text(suffix, "the suffix"))


def truncate(value: Any, length: Any = 255, end: Any = "…") -> str:
    """Return the text cut to ``length`` characters, ``end`` included."""
    source, end = text(value), text(end, "the end")
    length = max(whole(length, "the length"), len(end))
    return source if len(source) <= length else source[: length - len(end)] + end


def string(value: Any) -> str:
    """Return the value as it would be written into a text."""
    if isinstance(value, Undefined):
        str(value)
    return to_text(value)


def tojson(value: Any) -> str:
    """Return the value as JSON."""
    written = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    charge_text(len(written))
    return written


def fromjson(value: Any) -> Any:
    """Return the value that a JSON text holds."""
    source = text(value)
    charge(1 + len(source) // 4)
    try:
        return plain(json.loads(source))
    except RenderError:
        raise
    except (ValueError, RecursionError) as error:
        raise RenderError(f"the text is not JSON: {excerpt(str(error), 100)}") from None


def urlencode(value: Any) -> str:
    """Return a text for use in a URL, or an object as a query."""
    if isinstance(value, dict):
        charge(len(value))
        return "&".join(f"{_quoted(key)}={_quoted(to_text(item))}" for key, item in value.items())
    return _quoted(text(value))


def _quoted(value: str) -> str:
    charge_text(len(value) * 9)
    try:
        return urllib.parse.quote(value, safe="")
    except UnicodeEncodeError:
        raise RenderError("the text holds half of a surrogate pair") from None


def _bytes(value: Any) -> bytes:
    try:
        return text(value).encode()
    except UnicodeEncodeError:
        raise RenderError("the text holds half of a surrogate pair") from None


def b64encode(value: Any) -> str:
    """Return the text's UTF-8 in base64."""
    return base64.b64encode(_bytes(value)).decode()


def b64decode(value: Any) -> str:
    """Return the text whose UTF-8 is written in base64."""
    try:
        return base64.b64decode(_bytes(value), validate=True).decode()
    except ValueError:
        raise RenderError("the text is not base64 of UTF-8") from None


def sha256(value: Any) -> str:
    """Return the SHA-256 of the text's UTF-8 in hexadecimal."""
    return hashlib.sha256(_bytes(value)).hexdigest()


def hmac_sha256(value: Any, key: Any, encoding: Any = "hex") -> str:
    """Return the HMAC-SHA256 of the text's UTF-8, as receivers of webhooks ask for it: in hexadecimal or in base64."""
    if encoding not in ("hex", "base64"):
        raise RenderError("the encoding of hmac_sha256 must be 'hex' or 'base64'")
    digest = hmac.digest(_bytes(key), _bytes(value), "sha256")
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


# -- instants --------------------------------------------------------------------------------------------------------------


def date(value: Any, format: Any = "%Y-%m-%d", zone: Any = "UTC", days: Any = 0, hours: Any = 0) -> str:
    """Return what the calendar and the clock on the wall in ``zone`` show ``hours`` and whole ``days`` after an instant."""
    pattern, zone = text(format, "the format"), text(zone, "the zone")
    unknown = next((found for found in re.findall(r"(?s)%(.?)", pattern) if not found or found not in _DIRECTIVES), None)
    if unknown is not None:
        raise RenderError(f"%{unknown} is not known in the format of date; there are %{' %'.join(_DIRECTIVES)}")
    if zone not in zone_names():
        raise RenderError(f"{excerpt(zone, 60)!r} is not a time zone of the IANA database; write for example Europe/Berlin")
    days, hours = whole(days, "days"), whole(hours, "hours")
    if max(abs(days), abs(hours)) > _FARTHEST:
        raise RenderError(f"date moves by at most {_FARTHEST} days and hours")
    try:
        at = _INSTANT.validate_python(value)
    except ValidationError:
        shown = excerpt(repr(value), 60) if isinstance(value, str) else kind_of(value)
        raise RenderError(f"the value of date {INSTANT_RULE}, not {shown}") from None
    charge_text(len(pattern) * 10)
    try:
        # Hours are of time that passes, days of the calendar: a day in which the clocks change is one day.
        local = (at + timedelta(hours=hours)).astimezone(ZoneInfo(zone)) + timedelta(days=days)
        return local.strftime(pattern)
    except (OverflowError, UnicodeEncodeError):
        raise RenderError("the value of date, or its format, is out of range") from None


# -- numbers ---------------------------------------------------------------------------------------------------------------


def absolute(value: Any) -> Any:
    """Return the number without its sign."""
    return abs(_number(value))


def _number(value: Any) -> Any:
    if isinstance(value, Undefined):
        str(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RenderError(f"the value must be a number, not {kind_of(value)}")
    return value


def to_int(value: Any) -> Any:
    """Return a number, or a text that holds one, cut to a whole number."""
    try:
        if isinstance(value, str):
            if len(value) > _LONGEST_DIGITS:
                raise ValueError
            return number(int(value) if value.strip().lstrip("+-").isdigit() else int(float(value)))
        return number(int(value if isinstance(value, bool) else _number(value)))
    except (ValueError, OverflowError) as error:
        if isinstance(error, RenderError):
            raise
        raise RenderError(
            f"{excerpt(value, 40)!r} is not a number" if isinstance(value, str) else "not a finite number"
        ) from None


def to_float(value: Any) -> Any:
    """Return a number, or a text that holds one, with decimals."""
    try:
        return number(float(value[:_LONGEST_DIGITS] if isinstance(value, str) else _number(value)))
    except ValueError as error:
        if isinstance(error, RenderError):
            raise
        raise RenderError(f"{excerpt(str(value), 40)!r} is not a number") from None


def divisible_by(value: Any, divisor: Any) -> bool:
    """Tell whether a number is a multiple of another."""
    if _number(divisor) == 0:
        raise RenderError("division by zero")
    return bool(_number(value) % divisor == 0)


def rounded(value: Any, digits: Any = 0) -> Any:
    """Return the number rounded to ``digits`` decimals; a whole number where they are 0."""
    places = min(max(whole(digits, "the digits"), 0), 15)
    result = round(_number(value), places)
    return int(result) if places == 0 else result


# -- lists and objects -----------------------------------------------------------------------------------------------------


def length(value: Any) -> int:
    """Return how many items or characters there are."""
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, (str, list, tuple, dict)):
        raise RenderError(f"{kind_of(value)} has no length")
    return len(value)


def first(value: Any) -> Any:
    """Return the first item."""
    return _nth(value, 0)


def last(value: Any) -> Any:
    """Return the last item."""
    return _nth(value, -1)


def _nth(value: Any, index: int) -> Any:
    items = sequence(value)
    if not items:
        raise RenderError("the list is empty, so it has no first and no last item; test its length before")
    return items[index]


def join(value: Any, separator: Any = "", attribute: Any = None) -> str:
    """Return the items as one text."""
    steps = [] if attribute is None else _steps(attribute)
    parts = [to_text(_item(item, steps)) for item in sequence(value)]
    between = text(separator, "the separator")
    charge_text(sum(map(len, parts)) + len(between) * len(parts))
    return between.join(parts)


def to_list(value: Any) -> list[Any]:
    """Return the items of a list, the keys of an object, or the characters of a text."""
    return sequence(value)


def reverse(value: Any) -> Any:
    """Return the items, or the characters of a text, from last to first."""
    return value[::-1] if isinstance(value, str) else sequence(value)[::-1]


def items(value: Any) -> list[Any]:
    """Return an object's keys and values as pairs."""
    return [list(pair) for pair in _object(value).items()]


def keys(value: Any) -> list[Any]:
    """Return an object's keys."""
    return list(_object(value))


def values(value: Any) -> list[Any]:
    """Return an object's values."""
    return list(_object(value).values())


def get(value: Any, key: Any, default: Any = None) -> Any:
    """Return what an object holds under ``key``, else ``default``."""
    return _object(value).get(text(key, "the key"), default)


def merge(value: Any, other: Any) -> dict[str, Any]:
    """Return an object with the fields of both; those of ``other`` win."""
    return {**_object(value), **_object(other)}


def _object(value: Any) -> dict[str, Any]:
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, dict):
        raise RenderError(f"the value must be an object, not {kind_of(value)}")
    charge(len(value))
    return value


def _steps(path: Any) -> list[str]:
    """Return the steps of a path such as ``a.b``."""
    steps = text(path, "the attribute").split(".", DEEPEST)
    if len(steps) > DEEPEST:
        raise RenderError(f"the attribute leads more than {DEEPEST} levels down")
    return steps


def _item(value: Any, steps: list[str]) -> Any:
    """Return what ``value`` holds under a path."""
    for step in steps:
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, (list, tuple)) and step.isdigit() and len(step) < 10 and int(step) < len(value):
            value = value[int(step)]
        else:
            raise RenderError(f"an item has no {excerpt(step, 60)!r}")
    return value


def map_items(value: Any, attribute: Any) -> list[Any]:
    """Return what every item holds under ``attribute``."""
    steps = _steps(attribute)
    return [_item(item, steps) for item in sequence(value)]


_MISSING: Any = object()


def selectattr(value: Any, attribute: Any, equals: Any = _MISSING) -> list[Any]:
    """Return the items that hold ``equals`` under ``attribute``; without it, those that hold something true."""
    steps = _steps(attribute)
    return [item for item in sequence(value) if _holds(item, steps, equals)]


def rejectattr(value: Any, attribute: Any, equals: Any = _MISSING) -> list[Any]:
    """Return the items that ``selectattr`` leaves out."""
    steps = _steps(attribute)
    return [item for item in sequence(value) if not _holds(item, steps, equals)]


def _holds(item: Any, steps: list[str], equals: Any) -> bool:
    try:
        found = _item(item, steps)
    except RenderError:
        return False
    return _fits(found, equals)


def _fits(found: Any, equals: Any) -> bool:
    if equals is _MISSING:
        return bool(found)
    charge_value(found)
    return bool(found == equals)


def select(value: Any, equals: Any = _MISSING) -> list[Any]:
    """Return the items that are ``equals``; without it, those that are true."""
    return [item for item in sequence(value) if _fits(item, equals)]


def reject(value: Any, equals: Any = _MISSING) -> list[Any]:
    """Return the items that ``select`` leaves out."""
    return [item for item in sequence(value) if not _fits(item, equals)]


def _order(value: Any) -> Callable[[Any], Any]:
    def key(item: Any) -> Any:
        if isinstance(item, bool) or not isinstance(item, (int, float, str)):
            raise RenderError(f"only texts and numbers have an order, not {kind_of(item)}")
        return item

    return key


def sort(value: Any, attribute: Any = None, reverse: Any = False) -> list[Any]:
    """Return the items in order, by ``attribute`` where it is given."""
    found = sequence(value)
    charge(len(found) * max(1, len(found).bit_length()))
    order = _order(value)
    steps = [] if attribute is None else _steps(attribute)
    try:
        return sorted(found, key=lambda item: order(_item(item, steps)), reverse=bool(reverse))
    except TypeError:
        raise RenderError("texts and numbers cannot be put into one order") from None


def unique(value: Any) -> list[Any]:
    """Return the items without repetitions, the first of each kept."""
    seen = set()
    kept = []
    for item in sequence(value):
        name = tojson(item)
        if name not in seen:
            seen.add(name)
            kept.append(item)
    return kept


def total(value: Any) -> Any:
    """Return the sum of the numbers."""
    return number(sum(_number(item) for item in sequence(value)))


def smallest(value: Any) -> Any:
    """Return the smallest item."""
    return first(sort(value))


def largest(value: Any) -> Any:
    """Return the largest item."""
    return last(sort(value))


def default(value: Any, otherwise: Any = "", boolean: Any = False) -> Any:
    """Return ``otherwise`` where the value is not there (with ``boolean`` also where it is not true)."""
    if isinstance(value, Undefined) or (boolean and not value):
        return otherwise
    return value


# -- what the sandbox puts into every template --------------------------------------------------------------------------


def each(value: Any) -> Iterator[Any]:
    """Yield the items of what a loop runs over, counting them."""
    items: Iterable[Any]
    if isinstance(value, Undefined):
        str(value)
    if not isinstance(value, (list, tuple, dict, str)):
        raise RenderError(f"a loop runs over a list, not {kind_of(value)}")
    items = value
    for item in items:
        charge(4)
        yield item


def concat(parts: list[Any]) -> str:
    """Return what ``~`` makes of its parts."""
    written = [string(part) for part in parts]
    charge_text(sum(map(len, written)))
    return "".join(written)


def cut(value: Any, *bounds: Any) -> Any:
    """Return the part of a text or a list that ``[start:stop:step]`` takes, counting it."""
    for each in (value, *bounds):
        if isinstance(each, Undefined):
            str(each)
    if not isinstance(value, (str, list, tuple)):
        raise RenderError(f"[:] takes a part of a text or a list, not of {kind_of(value)}")
    for bound in bounds:
        if bound is not None:
            whole(bound, "a bound of [:]")
    if bounds[2] == 0:
        raise RenderError("the step of [:] must not be 0")
    part = slice(*bounds)
    count = len(range(*part.indices(len(value))))
    charge(1 + count // CHARACTERS_PER_UNIT if isinstance(value, str) else 1 + count)
    return value[part]


def looked_at(value: Any) -> Any:
    """Return ``value``, counting the work of looking at all of it: it is compared, or part of something new."""
    charge_value(value)
    return value


def numbers(*bounds: Any) -> list[int]:
    """Return the whole numbers of ``range``."""
    if not 1 <= len(bounds) <= 3:
        raise RenderError("range takes one to three whole numbers")
    found = [whole(bound, "a bound of range") for bound in bounds]
    if len(found) == 3 and found[2] == 0:
        raise RenderError("the step of range must not be 0")
    made = range(*found)
    try:
        count = len(made)
    except OverflowError:
        count = LONGEST_RANGE + 1
    if count > LONGEST_RANGE:
        raise RenderError(f"range makes more than {LONGEST_RANGE} numbers")
    charge(count)
    return list(made)


FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "abs": absolute, "b64decode": b64decode, "b64encode": b64encode, "capitalize": capitalize, "count": length,
    "d": default, "date": date, "default": default, "first": first, "float": to_float, "fromjson": fromjson,
    "hmac_sha256": hmac_sha256, "int": to_int,
    "items": items, "join": join, "keys": keys, "last": last, "length": length, "list": to_list, "lower": lower,
    "map": map_items, "max": largest, "merge": merge, "min": smallest, "reject": reject, "rejectattr": rejectattr,
    "replace": replace, "reverse": reverse, "round": rounded, "select": select, "selectattr": selectattr,
    "sha256": sha256, "sort": sort, "split": split, "string": string, "sum": total, "title": title, "tojson": tojson,
    "trim": trim, "truncate": truncate, "unique": unique, "upper": upper, "urlencode": urlencode, "values": values,
}  # fmt: skip

TESTS: Final = (
    "boolean", "defined", "false", "float", "integer", "mapping", "none", "number", "sequence", "string", "true",
    "undefined",
)  # fmt: skip

# Jinja2's own take a text for a format: "%999999999d" is a gigabyte then.
TESTS_OF_NUMBERS: Final[dict[str, Callable[..., bool]]] = {
    "divisibleby": divisible_by,
    "even": lambda value: divisible_by(value, 2),
    "odd": lambda value: divisible_by(value, 1) and not divisible_by(value, 2),
}

METHODS: Final[dict[type, dict[str, Callable[..., Any]]]] = {
    str: {
        "capitalize": capitalize, "endswith": endswith, "lower": lower, "replace": replace, "split": split,
        "startswith": startswith, "strip": trim, "title": title, "upper": upper,
    },
    dict: {"get": get, "items": items, "keys": keys, "values": values},
}  # fmt: skip
