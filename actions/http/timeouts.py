"""How long a request and its parts may take, as its author writes it; :mod:`actions.http.timing` holds it to that."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from domain.durations import Duration, parse_duration
from domain.model import Model

LONGEST_TIMEOUT: Final = timedelta(hours=24)


@dataclass(frozen=True)
class TimeLimits:
    """In seconds."""

    connect: float
    first_byte: float
    idle: float
    total: float


def _bounded(text: str) -> str:
    if parse_duration(text) > LONGEST_TIMEOUT:
        raise ValueError(f"{text} is longer than 24h; write 24h or less")
    return text


Timeout = Annotated[Duration, AfterValidator(_bounded)]


class Timeouts(Model):
    """How long the parts of a request may take, each within ``timeout``."""

    connect: Timeout = Field(default="10s", description="Name, connection and TLS handshake.")
    first_byte: Timeout = Field(default="30s", description="From the connection to the headers of the answer.")
    idle: Timeout = Field(default="15s", description="Between two pieces of the body.")

    def limits(self, total: str) -> TimeLimits:
        """Return them in seconds, with the one for all of the request."""
        texts = (self.connect, self.first_byte, self.idle, total)
        return TimeLimits(*(parse_duration(text).total_seconds() for text in texts))
