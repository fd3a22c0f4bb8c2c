"""How a service proves to Kafka who it is: the settings as Faust and as the other clients want them."""

import ssl
from typing import Any

from faust import SASLCredentials, SSLCredentials
from faust.types.auth import CredentialsT

from apps.settings import ServiceSettings
from events.broker import Broker


def credentials(settings: ServiceSettings) -> CredentialsT | None:
    """Return Faust's ``broker_credentials``; None for a broker that asks for nothing."""
    protocol = settings.kafka_security_protocol
    if protocol == "PLAINTEXT":
        return None
    if protocol == "SSL":
        return SSLCredentials(tls(settings))
    return SASLCredentials(
        username=settings.kafka_username,
        password=settings.kafka_password.get_secret_value(),
        mechanism=settings.kafka_sasl_mechanism,
        ssl_context=tls(settings) if protocol == "SASL_SSL" else None,
    )


def broker(settings: ServiceSettings) -> Broker:
    """Return what makes the clients that are not Faust's."""
    return Broker(settings.kafka_bootstrap, _connection(settings))


def _connection(settings: ServiceSettings) -> dict[str, Any]:
    protocol = settings.kafka_security_protocol
    made: dict[str, Any] = {"security_protocol": protocol}
    if protocol in ("SSL", "SASL_SSL"):
        made["ssl_context"] = tls(settings)
    if protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        made["sasl_mechanism"] = settings.kafka_sasl_mechanism
        made["sasl_plain_username"] = settings.kafka_username
        made["sasl_plain_password"] = settings.kafka_password.get_secret_value()
    return made


def tls(settings: ServiceSettings) -> ssl.SSLContext:
    """Return a context that trusts the given authorities, or those of the system, and shows the given certificate."""
    context = ssl.create_default_context(cafile=settings.kafka_ca_file or None)
    if settings.kafka_certificate_file:
        context.load_cert_chain(settings.kafka_certificate_file, settings.kafka_key_file or None)
    return context
