"""What the runner reads from its environment for HTTP actions."""

import pytest
from pydantic import ValidationError

from actions.http.limits import HostLimit
from apps.runner.settings import RunnerSettings


def test_limits_of_hosts_are_read_from_the_environment(monkeypatch):
    monkeypatch.setenv("HTTP_HOST_LIMITS", '{"api.example.org": {"concurrency": 2, "rate": 0.5}, "b.example": {"rate": 9}}')
    monkeypatch.setenv("HTTP_HOST_CONCURRENCY", "7")
    monkeypatch.setenv("HTTP_HOST_RATE", "3")
    monkeypatch.setenv("HTTP_ALLOW_HOSTS", "10.0.0.0/8, crm.internal ,*.svc")
    http = RunnerSettings().http()
    assert http.default_limit == HostLimit(concurrency=7, rate=3)
    assert http.host_limits == {"api.example.org": HostLimit(concurrency=2, rate=0.5), "b.example": HostLimit(rate=9)}
    assert http.allow_hosts == ("10.0.0.0/8", "crm.internal", "*.svc")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HTTP_HOST_LIMITS", '{"a": {"rate": 0}}', "greater than 0"),
        ("HTTP_HOST_LIMITS", '{"a": {"concurrency": 0}}', "greater than or equal to 1"),
        ("HTTP_HOST_LIMITS", '{"a": {"speed": 1}}', "not permitted"),
        ("HTTP_HOST_RATE", "-1", "greater than 0"),
        ("HTTP_ALLOW_HOSTS", "http://x", "write a host name"),
    ],
)
def test_what_cannot_be_meant_stops_the_runner_at_its_start(monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match=said):
        RunnerSettings()
