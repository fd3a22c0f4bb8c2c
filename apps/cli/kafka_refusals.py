"""Why Kafka does not let us in: its driver says so in its log, and raises an error without the reason."""

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors


class Refusals(logging.Handler):
    """The connections that failed, by broker."""

    def __init__(self) -> None:
        super().__init__()
        self._found: dict[str, BaseException] = {}

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple) and len(record.args) == 3 and isinstance(record.args[2], BaseException):
            self._found[f"{record.args[0]}:{record.args[1]}"] = record.args[2]

    def __bool__(self) -> bool:
        """Tell whether there were any."""
        return bool(self._found)

    def __str__(self) -> str:
        """Return each broker with its reason."""
        return "; ".join(f"{broker}: {_reason(error)}" for broker, error in self._found.items())

    @property
    def mend(self) -> str:
        """What to do about them."""
        if self._is_any(errors.AuthenticationFailedError, errors.SaslAuthenticationFailed):
            return "Check KAFKA_USERNAME and KAFKA_PASSWORD."
        if self._is_any(errors.IllegalSaslStateError, errors.UnsupportedSaslMechanismError):
            return "Check KAFKA_SECURITY_PROTOCOL and KAFKA_SASL_MECHANISM: this broker takes others."
        if self._is_any(ssl.SSLError):
            return "Check KAFKA_CA_FILE, and whether KAFKA_SECURITY_PROTOCOL is that of this port."
        if self._is_any(ConnectionRefusedError):
            return "Start it (wf up, docker compose up), or name it with KAFKA_BOOTSTRAP."
        return "Check KAFKA_BOOTSTRAP, and whether KAFKA_SECURITY_PROTOCOL is that of this port."

    def _is_any(self, *kinds: type[BaseException]) -> bool:
        return any(isinstance(error, kinds) for error in self._found.values())


@contextmanager
def collected() -> Iterator[Refusals]:
    """Collect, instead of having them printed, what the driver says until the end of the block."""
    refusals = Refusals()
    logger = logging.getLogger("aiokafka")
    propagated = logger.propagate
    logger.addHandler(refusals)
    logger.propagate = False
    try:
        yield refusals
    finally:
        logger.removeHandler(refusals)
        logger.propagate = propagated


def _reason(error: BaseException) -> str:
    if isinstance(error, errors.KafkaError):
        # Its text names the connection object as well.
        return f"{type(error).__name__}: {error.args[0]}" if error.args else type(error).__name__
    return str(error) or "it closes the connection"
