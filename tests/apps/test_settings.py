"""Settings that are wrong are told by the variable that mends them."""

import pytest

from apps.settings import BadSettings, ServiceSettings, read


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL: Input should be 'PLAINTEXT'"),
        ({"KAFKA_CA_FILE": "nowhere.pem"}, "KAFKA_CA_FILE: there is no file nowhere.pem"),
        ({"KAFKA_SECURITY_PROTOCOL": "SASL_SSL"}, "KAFKA_SECURITY_PROTOCOL=SASL_SSL needs KAFKA_USERNAME"),
        ({"RETENTION_DAYS": "0", "MONGODB_TIMEOUT": "soon"}, "error: RETENTION_DAYS: Input should be greater than 0\n"),
    ],
)
def test_what_is_wrong(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(BadSettings) as caught:
        read(ServiceSettings)
    assert said in f"{caught.value}\n"
    assert len(str(caught.value).splitlines()) == len(variables)


def test_a_password_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_PASSWORD", "open-sesame")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(BadSettings) as caught:
        read(ServiceSettings)
    assert "sesame" not in str(caught.value)
