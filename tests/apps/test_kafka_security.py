import ssl
from datetime import timedelta

import pytest
import trustme
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from pydantic import ValidationError

from apps import kafka_security
from apps.settings import ServiceSettings


@pytest.fixture
def authority(tmp_path):
    path = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(path)
    return str(path)


@pytest.mark.parametrize("protocol", ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"])
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_faust_and_the_admin_client_are_told_the_same(authority, protocol, mechanism):
    settings = ServiceSettings(
        kafka_security_protocol=protocol,
        kafka_sasl_mechanism=mechanism,
        kafka_username="anna",
        kafka_password="open-sesame",
        kafka_ca_file=authority,
    )
    mine = dict(kafka_security.broker(settings).security)
    theirs = credentials_to_aiokafka_auth(kafka_security.credentials(settings))
    assert isinstance(mine.pop("ssl_context", None), ssl.SSLContext) == protocol.endswith("SSL")
    assert isinstance(theirs.pop("ssl_context", None), ssl.SSLContext) == protocol.endswith("SSL")
    theirs["security_protocol"] = getattr(theirs["security_protocol"], "value", theirs["security_protocol"])
    assert mine == theirs
    assert "sesame" not in repr(settings)


def test_a_password_needs_a_user():
    with pytest.raises(ValidationError, match="KAFKA_USERNAME"):
        ServiceSettings(kafka_security_protocol="SASL_SSL")


def test_the_database_gets_its_credentials(authority):
    settings = ServiceSettings(mongodb_username="anna", mongodb_password="secret", mongodb_ca_file=authority)
    assert settings.mongodb_credentials == {
        "username": "anna",
        "password": "secret",
        "tls": True,
        "tlsCAFile": authority,
    }
    assert ServiceSettings().mongodb_credentials == {}


def test_the_history_can_be_told_of_whatever_is_kept():
    assert ServiceSettings(retention_days=7).topic_retentions.history == timedelta(days=8)
    assert ServiceSettings(retention_days=7, kafka_retention_days=7).topic_retentions.history == timedelta(days=7)
    with pytest.raises(ValidationError, match="KAFKA_RETENTION_DAYS=7 is less than RETENTION_DAYS=30"):
        ServiceSettings(kafka_retention_days=7)
