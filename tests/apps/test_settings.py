"""Settings that are wrong are told by the variable that mends them."""

import pytest

from apps.runner.settings import RunnerSettings
from apps.settings import BadSettings, ServiceSettings, read


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT'"),
        ({"KAFKA_CA_FILE": "nowhere.pem"}, "KAFKA_CA_FILE: there is no file nowhere.pem"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SECURITY_PROTOCOL=SASL_SSL needs KAFKA_USERNAME"),
        ({"KAFKA_BOOTSTRAP": "127.0.0.1:99999"}, "KAFKA_BOOTSTRAP: write host:port[,host:port], with ports of 1 to 65535"),
        ({"KAFKA_BOOTSTRAP": "127.0.0.1:x"}, "KAFKA_BOOTSTRAP: write host:port"),
        ({"KAFKA_BOOTSTRAP": "kafka://a:9092"}, "KAFKA_BOOTSTRAP: write host:port"),
        ({"KAFKA_BOOTSTRAP": "a:9092,,b:9092"}, "KAFKA_BOOTSTRAP: write host:port"),
        ({"KAFKA_BOOTSTRAP": ""}, "KAFKA_BOOTSTRAP: write host:port"),
        ({"MONGODB_URL": "mongo://x"}, "MONGODB_URL: Invalid URI scheme: URI must begin with 'mongodb://'"),
        ({"MONGODB_URL": "mongodb://a:99999"}, "MONGODB_URL: Port must be an integer between 0 and 65535"),
        ({"MONGODB_URL": "mongodb://a/?tlsCAFile=nowhere.pem"}, "MONGODB_URL: [Errno 2]"),
        ({"MONGODB_USERNAME": "u"}, "error: MONGODB_USERNAME: needs MONGODB_PASSWORD"),
        ({"HTTP_HOST_LIMITS": "{x"}, "HTTP_HOST_LIMITS: Expecting property name"),
        ({"HTTP_HOST_LIMITS": "[]"}, "HTTP_HOST_LIMITS: Input should be a valid dictionary"),
        ({"HTTP_HOST_LIMITS": '{"a": {"rate": 0}}'}, "HTTP_HOST_LIMITS: a.rate: Input should be greater than 0"),
        ({"KAFKA_SESSION_TIMEOUT": "5.9"}, "KAFKA_SESSION_TIMEOUT: Input should be greater than or equal to 6"),
        ({"KAFKA_SESSION_TIMEOUT": "61"}, "KAFKA_SESSION_TIMEOUT: Input should be less than or equal to 60"),
        ({"RETENTION_DAYS": "0", "MONGODB_TIMEOUT": "soon"}, "error: RETENTION_DAYS: Input should be greater than 0\n"),
    ],
)
def test_what_is_wrong(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        read(RunnerSettings)
    assert said in f"{caught.value}\n"
    assert len(str(caught.value).splitlines()) == len(variables)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KAFKA_BOOTSTRAP", "a.example:9092, b:9092,10.0.0.1:9092,[::1]:9092"),
        ("KAFKA_BOOTSTRAP", "without-a-port"),
        ("MONGODB_URL", "mongodb://u:p@a:27017,b:27017/?replicaSet=rs0&authSource=admin"),
        ("MONGODB_URL", "mongodb+srv://cluster.example.invalid/?srvServiceName=mongodb"),
    ],
)
def test_what_is_right(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(read(RunnerSettings), name.lower()) == value


def test_a_password_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "open-sesame")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(BadSettings) as caught:
        read(ServiceSettings)
    assert "sesame" not in str(caught.value)
