"""Settings that are wrong are told by the variable that mends them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from apps.runner.settings import RunnerSettings
from apps.settings import BadSettings, ServiceSettings, read


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (
            {"KAFKA_SECURITY_PROTOCOL": "TLS"},
            "KAFKA_SECURITY_PROTOCOL: must be 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL', not 'TLS'",
        ),
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
        ({"MONGODB_URL": "mongodb://a:1, b:1/db"}, "MONGODB_URL: 'a:1, b:1' holds a blank; write mongodb://host:port[,"),
        ({"MONGODB_URL": "mongodb://u:a b@a "}, "MONGODB_URL: 'a ' holds a blank; write mongodb://host:port"),
        ({"MONGODB_URL": "mongodb+srv://a b/?w=1"}, "MONGODB_URL: 'a b' holds a blank"),
        ({"MONGODB_USERNAME": "u"}, "error: MONGODB_USERNAME: needs MONGODB_PASSWORD"),
        ({"HTTP_HOST_LIMITS": "{x"}, "HTTP_HOST_LIMITS: Expecting property name"),
        ({"HTTP_HOST_LIMITS": "[]"}, "HTTP_HOST_LIMITS: must be an object, not an array"),
        ({"HTTP_HOST_LIMITS": '{"a": {"rate": 0}}'}, "HTTP_HOST_LIMITS: a.rate: must be more than 0"),
        ({"KAFKA_SESSION_TIMEOUT": "5.9"}, "KAFKA_SESSION_TIMEOUT: must be 6 or more"),
        ({"KAFKA_SESSION_TIMEOUT": "61"}, "KAFKA_SESSION_TIMEOUT: must be 60 or less"),
        ({"RETENTION_DAYS": "0", "MONGODB_TIMEOUT": "soon"}, "error: RETENTION_DAYS: must be more than 0\n"),
        ({"RETENTION_DAYS": "0", "MONGODB_TIMEOUT": "soon"}, "error: MONGODB_TIMEOUT: must be a number, not 'soon'\n"),
        ({"RUNNER_MAX_IN_FLIGHT": "1.5"}, "error: RUNNER_MAX_IN_FLIGHT: must be a whole number, not '1.5'\n"),
        ({"PUBLISH_OWN_TOPICS": "perhaps"}, "error: PUBLISH_OWN_TOPICS: must be true or false, not 'perhaps'\n"),
        ({"MONGODB_URL": "mongodb://u@a"}, "error: MONGODB_URL: names a user without a password; write mongodb://user:"),
        ({"MONGODB_URL": "mongodb://u@a/?authMechanism=SCRAM-SHA-256"}, "error: MONGODB_URL: names a user without"),
        ({"MONGODB_DATABASE": ""}, "error: MONGODB_DATABASE: must be 1 to 63 bytes long"),
        ({"MONGODB_DATABASE": "a.b"}, "error: MONGODB_DATABASE: must be 1 to 63 bytes long"),
        ({"SECRETS_KEY": "c2hvcnQ="}, "error: SECRETS_KEY must hold keys of 32 bytes in base64"),
        ({"SECRETS_KEY_FILE": "nowhere.key"}, "error: SECRETS_KEY_FILE: there is no file nowhere.key\n"),
        ({"SECRETS_DIR": "nowhere"}, "error: SECRETS_DIR: there is no directory nowhere\n"),
        ({"HTTP_TLS_DIR": "nowhere"}, "error: HTTP_TLS_DIR: there is no directory nowhere\n"),
        ({"KAFKA_KEY_FILE": __file__}, "error: KAFKA_KEY_FILE: needs KAFKA_CERTIFICATE_FILE\n"),
        ({"SECRETS_DIR": __file__}, "settings.py cannot be read: Not a directory\n"),
        ({"KAFKA_CA_FILE": "/"}, "error: KAFKA_CA_FILE: / cannot be read: Is a directory\n"),
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
    ("variable", "said"),
    [
        ("KAFKA_CA_FILE", "holds no certificate in PEM"),
        ("MONGODB_CA_FILE", "holds no certificate in PEM"),
        ("KAFKA_CERTIFICATE_FILE", "must hold a certificate in PEM, and KAFKA_KEY_FILE (or the same file) the key"),
        ("SECRETS_KEY_FILE", "must hold keys of 32 bytes in base64"),
    ],
)
@pytest.mark.parametrize("content", [b"something else", b"\xff\xfe"])
def test_a_file_that_holds_something_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, said: str, content: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(BadSettings) as caught:
        read(ServiceSettings)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"error: {variable}")
    assert said in line


@pytest.mark.parametrize("key", ["its own", "another's", "encrypted"])
def test_the_key_of_a_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, key: str) -> None:
    authority = trustme.CA()
    ours, another = authority.issue_cert("a.example"), authority.issue_cert("b.example")
    private = serialization.load_pem_private_key(ours.private_key_pem.bytes(), None)
    encrypted = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
    )
    keys = {
        "its own": ours.private_key_pem.bytes(),
        "another's": another.private_key_pem.bytes(),
        "encrypted": encrypted,
    }
    ours.cert_chain_pems[0].write_to_path(tmp_path / "certificate.pem")
    (tmp_path / "key.pem").write_bytes(keys[key])
    monkeypatch.setenv("KAFKA_CERTIFICATE_FILE", str(tmp_path / "certificate.pem"))
    monkeypatch.setenv("KAFKA_KEY_FILE", str(tmp_path / "key.pem"))
    if key == "its own":
        read(ServiceSettings)
        return
    with pytest.raises(BadSettings, match=r"KAFKA_CERTIFICATE_FILE: .*KAFKA_KEY_FILE"):
        read(ServiceSettings)


@pytest.mark.parametrize("variable", ["SECRETS_KEY_FILE", "SECRETS_DIR", "HTTP_TLS_DIR"])
def test_an_empty_path_is_none_rather_than_the_working_directory(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "")
    assert getattr(read(RunnerSettings), variable.lower()) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MONGODB_URL", "mongodb://CN=u@a/?authMechanism=MONGODB-X509&tls=true"),
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


def run_scheduler(*arguments: str, **environment: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "faust", "-A", "apps.scheduler.app", "--quiet", "worker", *arguments]
    done = subprocess.run(command, env={**os.environ, "LOG_LEVEL": "error", **environment}, capture_output=True, text=True)
    return done.returncode, done.stderr


def test_a_service_whose_files_have_no_place_ends_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run_scheduler("--without-web", DATA_DIR=str(tmp_path / "file" / "data")) == (
        1,
        f"error: DATA_DIR: nothing can be written to {tmp_path}/file/data: Not a directory; "
        "name a directory of the service's own\n",
    )


def test_a_service_whose_port_is_taken_ends_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert run_scheduler("--web-port", str(port)) == (
            1,
            f"error: WEB_HOST, --web-port: cannot listen on 127.0.0.1, port {port}: it is taken; choose others\n",
        )


def test_a_service_whose_host_is_unknown_ends_with_one_line() -> None:
    code, said = run_scheduler("--web-port", "8099", WEB_HOST="nowhere.invalid", AUTH="tokens")
    assert code == 1
    assert said.startswith("error: WEB_HOST, --web-port: cannot listen on nowhere.invalid, port 8099: ")
    assert len(said.splitlines()) == 1
