"""Keeps the values of secrets out of everything that is written down: logs, results, events, errors.

A value is looked for as it is, as JSON and URLs would write it, and in base64. Base64 of a longer text that holds the value
(``user:password`` of basic authentication) looks different by where the value begins; the characters that depend on the
value alone are looked for at each of the three places. A text that ends within a value, because it was cut, loses its end.

Values shorter than four characters are not looked for: they would be found everywhere.
"""

import base64
import json
import urllib.parse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

SHORTEST: Final = 4
HIDDEN: Final = "***"


def forms(value: str) -> set[str]:
    """Return the texts by which a value may be recognised."""
    raw = value.encode("utf-8", "surrogatepass")
    found = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    for safe in ("", "/"):
        quoted = urllib.parse.quote(raw, safe=safe)
        found |= {quoted, _small_hex(quoted), urllib.parse.quote_plus(raw, safe=safe)}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        found |= {whole, whole.rstrip("=")}
        for offset in range(3):
            # Of each 4 characters 3 bytes speak: drop those to which the bytes before and after contribute.
            text = encode(b"\0" * offset + raw).decode().rstrip("=")
            start = -(-offset * 4 // 3) if offset else 0
            end = (len(raw) + offset) * 8 // 6
            found.add(text[start:end])
    return {form for form in found if len(form) >= SHORTEST}


def _small_hex(quoted: str) -> str:
    parts = quoted.split("%")
    return "%".join([parts[0], *(part[:2].lower() + part[2:] for part in parts[1:])])


class Redactor:
    """Replaces known values by asterisks. Costs next to nothing while no value is known."""

    def __init__(self) -> None:
        self._values: frozenset[str] = frozenset()
        self._forms: list[str] = []
        self._by_beginning: dict[str, list[str]] = {}
        self._longest = 0

    def know(self, values: Iterable[str]) -> None:
        """Know these values from now on, and no others."""
        # Values of several lines (keys, certificates) are also recognised by each line.
        lines = {line.strip() for value in values for line in (value, *value.splitlines())}
        known = frozenset(line for line in lines if len(line) >= SHORTEST)
        if known != self._values:
            self._values = known
            # The longest first: a short value within a long one must not leave the rest of it.
            self._forms = sorted({form for value in known for form in forms(value)}, key=len, reverse=True)
            self._longest = len(self._forms[0]) if self._forms else 0
            self._by_beginning = defaultdict(list)
            for form in self._forms:
                self._by_beginning[form[:SHORTEST]].append(form)

    def add(self, value: str) -> None:
        """Know one more value."""
        self.know({*self._values, value})

    def text(self, text: str) -> str:
        """Return ``text`` without the values."""
        if not self._forms or len(text) < SHORTEST:
            return text
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def cut(self, text: str) -> str:
        """Return a text that may have been cut off, without the values and without the beginning of one at its end."""
        text = self.text(text)
        tail = text.rstrip(".… ")
        for start in range(max(0, len(tail) - self._longest), len(tail) - SHORTEST + 1):
            rest = tail[start:]
            if any(form.startswith(rest) for form in self._by_beginning.get(rest[:SHORTEST], ())):
                return tail[:start] + HIDDEN
        return text

    def value(self, value: Any) -> Any:
        """Return JSON data without the values; itself, where nothing is known."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.cut(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool) and repr(value) in self._values:
            return HIDDEN
        return value


KNOWN: Final = Redactor()
"""What this process knows; its logs are redacted by it."""
