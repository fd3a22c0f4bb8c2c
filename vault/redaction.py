"""Keeps the values of secrets out of everything that is written down: logs, results, events, errors.

A value is looked for as it is, and as JSON, URLs, HTML, Python and base64 write it; each character may be written in any of
these ways, so that a mixture of them is found as well. Base64 of a longer text that holds the value (``user:password`` of
basic authentication) looks different by where the value begins; the characters that depend on the value alone are looked
for at each of the three places. A value of several lines (a key, a certificate) is also looked for line by line.

A text that was cut within a value shows its beginning: it loses that, at its end and before every ellipsis. So whoever
shortens what may hold a secret marks the place with ``…`` (:func:`domain.excerpts.excerpt`). Data that later steps compute
with are whole: there only an ellipsis tells of a cut, for else the word ``Bearer`` would be taken out of every answer
because some secret begins with it.

What has fewer than ``SHORTEST`` characters would be found everywhere, and is no secret (:func:`is_recognisable`). A value of
fewer than ``UNMISTAKABLE`` letters and digits, and of nothing else, is found where it stands alone: within a longer run of
them it is most often something else (1234 in an order number), which others would get in a broken state. What escapes mean
is not a part of a run. In base64 a value does not show its neighbours; there it is found anywhere.

A part of a value that a template takes out of it on purpose, or writes in yet another way (backwards, as a hash), is not
recognised.

All patterns are searched in one pass by RE2, in a time that does not grow with the number of secrets.
"""

import base64
import html
import json
import re
import time
import urllib.parse
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import orjson
import re2

from domain.excerpts import CUT

SHORTEST: Final = 4
UNMISTAKABLE: Final = 8
HIDDEN: Final = "***"
FORMER: Final = 200  # values, or lines of one, that are known for as long as it takes after they were replaced or deleted
RUNS_HOLD: Final = 3600.0  # seconds for which every value is known after that
_LARGEST_PATTERN: Final = 100_000  # characters; RE2 gives up on what is much larger
_LONGEST_LOOK: Final = 1000  # characters at the end of a cut text in which the beginning of a value is looked for
_SHORT_ESCAPES: Final = {'"': '"', "'": "'", "\\": "\\", "/": "/", "\b": "b", "\f": "f", "\n": "n", "\r": "r", "\t": "t"}
_LONG: Final = {short: character for character, short in _SHORT_ESCAPES.items()}
_ESCAPE: Final = re.compile(r"\\(?:(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|U000[0-9a-fA-F]{5})|(.))", re.DOTALL)
_CUT_ESCAPE: Final = re.compile(
    r"(?:\\+(?:u[0-9a-fA-F]{0,3}|x[0-9a-fA-F]?|U[0-9a-fA-F]{0,7})?|%[0-9a-fA-F]?|&#?[0-9a-zA-Z]{0,6})$"
)
_HTML_NAMES: Final = {"&": "amp", "<": "lt", ">": "gt", '"': "quot", "'": "apos"}
# What no encoder writes otherwise; others leave more as it is, which is one of the ways.
_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_BACKSLASHES: Final = r"(?:(?:\\|%(?:25)*5c|&#92;|&#x5c;)+)"

# What stands before and behind a value that stands alone; an escape, and the colour of a log, end with a letter or a digit.
_BEFORE: Final = (
    rf"^|[^0-9A-Za-z]|(?i:{_BACKSLASHES}(?:[bfnrt]|u[0-9a-f]{{4}}|x[0-9a-f]{{2}}|u000[0-9a-f]{{5}})|%(?:25)*[0-9a-f]{{2}})"
    r"|\[[0-9;]*m"
)
_BEHIND: Final = "$|[^0-9A-Za-z]"

_OPTIONS: Final = re2.Options()
_OPTIONS.longest_match = True  # a short value within a long one must not leave the rest of it
_OPTIONS.max_mem = 64 << 20
_OPTIONS.log_errors = False


def is_recognisable(value: str) -> bool:
    """Tell whether a value can be told from other text, and so be kept out of it."""
    return len(value.strip()) >= SHORTEST


def _is_mistakable(value: str) -> bool:
    """Tell whether a value may well be in a longer word or number that is something else."""
    return len(value) < UNMISTAKABLE and value.isascii() and value.isalnum()


@lru_cache(maxsize=4096)
def _ways(character: str) -> tuple[str, ...]:
    """Return the ways in which a character is written; they differ in the case of hexadecimal digits as well."""
    if character in _PLAIN:
        return (character,)
    units = character.encode("utf-16-be", "surrogatepass").hex()
    ways = [
        character,
        "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass")),
        "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4)),
        f"&#{ord(character)};",
        f"&#0{ord(character)};",
        f"&#x{ord(character):x};",
    ]
    if ord(character) < 256:
        ways.append(f"\\x{ord(character):02x}")  # as Python shows it
    elif ord(character) > 0xFFFF:
        ways.append(f"\\U{ord(character):08x}")
    if character in " +":
        ways += [" ", "+", "%20"]  # some read one where another wrote the other
    if character in _SHORT_ESCAPES:
        ways.append("\\" + _SHORT_ESCAPES[character])
    if character in _HTML_NAMES:
        ways.append(f"&{_HTML_NAMES[character]};")
    return tuple(ways)


@lru_cache(maxsize=4096)
def _pattern_of(character: str) -> str:
    ways = _ways(character)
    if len(ways) == 1:
        return str(re2.escape(character))
    pattern = "|".join(map(str, map(re2.escape, ways)))
    # An escape may be escaped once more, as in JSON within JSON, within HTML or within a URL.
    pattern = pattern.replace("\\%", "%(?:25)*").replace("\\\\", _BACKSLASHES)
    if character in _SHORT_ESCAPES:
        pattern = f"{_BACKSLASHES}?(?:{pattern})"
    return f"(?i:{pattern})"


def _pattern(form: str) -> str:
    return "".join(map(_pattern_of, form))


def _forms(value: str) -> Iterator[str]:
    """Yield the value, and what base64 makes of it and of JSON that holds it."""
    yield value
    for text in {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}:
        raw = text.encode("utf-8", "surrogatepass")
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(raw).decode()
            yield encode(raw).decode().rstrip("=")
            for offset in range(3):
                # Of each 4 characters 3 bytes speak: drop those to which the bytes before and after contribute.
                encoded = encode(b"\0" * offset + raw).decode().rstrip("=")
                yield encoded[-(-offset * 4 // 3) : (len(raw) + offset) * 8 // 6]


def _deciphered(text: str) -> str:
    """Return a text with its escapes undone, whatever they are, also one within the other, and one cut off at its end."""
    before = ""
    while text != before:
        before = text
        text = urllib.parse.unquote(html.unescape(_CUT_ESCAPE.sub("", text)), errors="replace").rstrip("\ufffd")
        text = _ESCAPE.sub(_character, _CUT_ESCAPE.sub("", text))
    # Two halves of a surrogate pair become one character, and what URLs do not tell apart is not told apart.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").replace(" ", "+")


def _character(escape: "re.Match[str]") -> str:
    code, short = escape.groups()
    return chr(int(code[1:], 16)) if code else _LONG.get(short, short)


def _lines(value: str) -> Iterator[str]:
    yield value.strip()
    for line in value.splitlines():
        if is_recognisable(line):
            yield line.strip()


class Redactor:
    """Replaces known values by asterisks. Costs next to nothing while no value is known."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._values: dict[str, float] = {}  # when it was a value last, the former ones first
        self._deciphered: list[str] = []  # the forms without escapes, sorted
        self._patterns: list[Any] = []
        self._beginnings: list[Any] = []

    def know(self, values: Iterable[str], *, are_all: bool = False) -> None:
        """Know these values from now on, and for long: what runs may still hold one that was replaced or deleted since.

        Where they are all that there are now, the others are former ones, and of these the oldest are forgotten at last:
        each takes memory, and time whenever a value is added, and some secrets are set anew every few minutes.
        """
        now = self._clock()
        lines = {line for value in values if is_recognisable(value) for line in _lines(value)}
        known = {line: at for line, at in self._values.items() if line not in lines} | dict.fromkeys(lines, now)
        if are_all:
            for line in [*known][: max(0, len(known) - len(lines) - FORMER)]:
                if now - known[line] > RUNS_HOLD:
                    del known[line]
        is_same = known.keys() == self._values.keys()
        self._values = known
        if is_same:
            return
        forms = {form for value in self._values for form in _forms(value) if len(form) >= SHORTEST}
        alone = set(filter(_is_mistakable, self._values))
        # The longer ones first: a short value at one place with the beginning of a long one must not leave the rest of it.
        self._patterns = [
            *_compiled({_pattern(form) for form in forms - alone}),
            *_compiled(alone, before=_BEFORE, behind=_BEHIND),
        ]
        self._beginnings = [
            *_compiled({_pattern(form[:SHORTEST]) for form in forms - alone}),
            *_compiled({value[:SHORTEST] for value in alone}, before=_BEFORE),
        ]
        self._deciphered = sorted({_deciphered(form) for form in forms})
        # RE2's module keeps the last 128 expressions, those of the last 30 values that were added: megabytes each.
        re2.purge()

    @property
    def is_blank(self) -> bool:
        """Whether it knows no value."""
        return not self._values

    @property
    def values(self) -> frozenset[str]:
        """What it knows, for another redactor to know as well."""
        return frozenset(self._values)

    def text(self, text: str) -> str:
        """Return ``text`` without the values."""
        for pattern in self._patterns:
            text = _replaced(pattern, text)
        return text

    def hides(self, text: str) -> bool:
        """Tell whether a value is in ``text``."""
        return self.text(text) != text

    def cut(self, text: str) -> str:
        """Return a text that may have been cut off, without the values and without the beginning of one at a cut."""
        text = self.text(text)
        return CUT.join(map(self._without_beginning, text.split(CUT))) if CUT in text else self._without_beginning(text)

    def whole(self, text: str) -> str:
        """Return a text that is whole, but for where an ellipsis says otherwise, without the values."""
        *cut, last = self.text(text).split(CUT)
        return CUT.join([*map(self._without_beginning, cut), last])

    def _without_beginning(self, text: str) -> str:
        stripped = text.rstrip(". ")
        for tail in (text,) if stripped == text else (text, stripped):  # dots may be the value's own, or tell of the cut
            window = tail[-_LONGEST_LOOK:]
            starts = [start for pattern in self._beginnings for start in _starts(pattern, window)]
            for start in sorted(starts):
                rest = _deciphered(window[start:])
                place = bisect_left(self._deciphered, rest)
                if place < len(self._deciphered) and self._deciphered[place].startswith(rest):
                    return tail[: len(tail) - len(window) + start] + HIDDEN
        return text

    def value(self, value: Any) -> Any:
        """Return texts of JSON data, any of which may have been cut off, without the values; itself, where none is in it."""
        return self._walked(value, self.cut) if self._patterns and self._is_suspect(value) else value

    def data(self, data: Any) -> Any:
        """Return JSON data that are whole without the values; themselves, where none is in them."""
        return self._walked(data, self.whole) if self._patterns and self._is_suspect(data) else data

    def _is_suspect(self, value: Any) -> bool:
        """Tell whether something in ``value`` looks like the beginning of a secret: most often nothing does."""
        try:
            written = orjson.dumps(value)
        except TypeError:
            return True
        return any(pattern.search(written) is not None for pattern in self._beginnings)

    def _walked(self, value: Any, redacted: Callable[[str], str]) -> Any:
        if isinstance(value, str):
            return redacted(value) if self._is_suspect(value) else value
        if isinstance(value, Mapping):
            # Nobody shortens names, and ours must stay what they are.
            return {self.text(str(key)): self._walked(item, redacted) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._walked(item, redacted) for item in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and repr(value) in self._values:
            return HIDDEN
        return value


def _compiled(patterns: Iterable[str], *, before: str = "", behind: str = "") -> Iterator[Any]:
    """Yield expressions that together match what one of ``patterns`` does; several where one would be too large.

    What has to be before and behind it is matched as well, as two groups.
    """

    def compiled() -> Any:
        alternatives = "|".join(part)
        return re2.compile(f"({before})(?:{alternatives})({behind})" if before else alternatives, _OPTIONS)

    part: list[str] = []
    size = 0
    for pattern in sorted(patterns):  # what begins alike is folded by RE2
        if size + len(pattern) > _LARGEST_PATTERN and part:
            yield compiled()
            part, size = [], 0
        part.append(pattern)
        size += len(pattern)
    if part:
        yield compiled()


def _replaced(pattern: Any, text: str) -> str:
    if not pattern.groups:
        return _substituted(pattern, HIDDEN, text)
    # Of two values with one character between them, the second is found when the first is gone.
    while (replaced := _substituted(pattern, rf"\1{HIDDEN}\2", text)) != text:
        text = replaced
    return text


def _substituted(pattern: Any, template: str, text: str) -> str:
    try:
        return str(pattern.sub(template, text))
    except UnicodeEncodeError:  # half of a surrogate pair
        raw = text.encode("utf-8", "surrogatepass")
        return bytes(pattern.sub(template.encode(), raw)).decode("utf-8", "surrogatepass")


def _starts(pattern: Any, text: str) -> Iterator[int]:
    """Yield where ``pattern`` matches, without what is before it, overlapping matches included."""
    place = 0
    # A lone half of a surrogate pair is replaced by one character, so that places stay what they are.
    searched = text.encode("utf-8", "replace").decode()
    while (match := pattern.search(searched, place)) is not None:
        yield match.end(1) if pattern.groups else match.start()
        place = match.start() + 1


KNOWN: Final = Redactor()
"""What this process knows; its logs are redacted by it."""
