"""Certificates: whom a request trusts, as whom it appears, and what is remembered of the handshake."""

import ssl

import pytest
import trustme
from aiohttp import web

from actions.running import Succeeded
from tests.actions.conftest import LOOPBACK, Receiver, serve


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
async def secure(authority):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    receiver = Receiver("https")
    runner = await serve(receiver, ssl_context=context)
    yield receiver
    await runner.cleanup()


async def test_an_unknown_authority_is_not_trusted(sender, secure):
    outcome = await sender.send(url=f"{secure.url}/x", method="POST")
    assert (outcome.error_class, outcome.maybe_done) == ("certificate", False)


async def test_an_authority_from_a_secret_is_trusted_and_the_handshake_timed(sender, secure, authority):
    sender.secrets["ca"] = authority.cert_pem.bytes().decode()
    outcome = await sender.send(url=f"{secure.url}/x", tls={"caSecret": "ca"})
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.output["timings"]["tls"] > 0
    again = await sender.send(url=f"{secure.url}/x", tls={"caSecret": "ca"})
    assert again.output["timings"]["tls"] is None
    assert len(secure.connections) == 1


async def test_another_authority_gets_no_connection_made_for_this_one(sender, secure, authority):
    sender.secrets |= {"ca": authority.cert_pem.bytes().decode(), "other": trustme.CA().cert_pem.bytes().decode()}
    assert isinstance(await sender.send(url=f"{secure.url}/x", tls={"caSecret": "ca"}), Succeeded)
    outcome = await sender.send(url=f"{secure.url}/x", tls={"caSecret": "other"})
    assert outcome.error_class == "certificate"


async def test_a_client_certificate_is_shown_to_its_origin_alone(sender, secure, authority, redirect):
    client = authority.issue_cert("client@example.org")
    sender.secrets |= {
        "ca": authority.cert_pem.bytes().decode(),
        "cert": "".join(blob.bytes().decode() for blob in client.cert_chain_pems),
        "key": client.private_key_pem.bytes().decode(),
    }
    shown = []

    def who(request):
        shown.append(request.transport.get_extra_info("peercert"))
        return redirect(f"https://localhost:{request.url.port}/b")(request)

    def who_else(request):
        shown.append(request.transport.get_extra_info("peercert"))
        return web.Response()

    secure.on("/b", who_else)

    tls = {"caSecret": "ca", "certificateSecret": "cert", "keySecret": "key"}
    outcome = await sender.send(url=secure.on("/a", who), tls=tls)
    assert isinstance(outcome, Succeeded), outcome
    assert shown[0]
    assert not shown[1]
    for name in ("cert", "key"):
        assert sender.secrets[name] not in str(outcome)


async def test_files_come_from_the_operators_directory_alone(sender, secure, authority, tmp_path):
    (tmp_path / "ca.pem").write_bytes(authority.cert_pem.bytes())
    connections = sender.connections(allow_hosts=LOOPBACK, tls_dir=tmp_path)
    outcome = await sender.send(connections, url=f"{secure.url}/x", tls={"caFile": "ca.pem"})
    assert isinstance(outcome, Succeeded)
    outcome = await sender.send(connections, url=f"{secure.url}/x", tls={"caFile": "none.pem"})
    assert outcome.error_class == "tls-settings"
    without = sender.connections(allow_hosts=LOOPBACK)
    outcome = await sender.send(without, url=f"{secure.url}/x", tls={"caFile": "ca.pem"})
    assert (outcome.error_class, "HTTP_TLS_DIR" in outcome.message) == ("tls-settings", True)


@pytest.mark.parametrize("value", ["swordfish", "swordfish ß", "-----BEGIN CERTIFICATE-----\nswordfish\n"])
async def test_what_is_no_pem_is_named_without_being_shown(sender, secure, value):
    sender.secrets |= {"ca": value, "cert": value}
    for tls in ({"caSecret": "ca"}, {"certificateSecret": "cert"}):
        outcome = await sender.send(url=f"{secure.url}/x", tls=tls)
        assert outcome.error_class == "tls-settings"
        assert "swordfish" not in str(outcome)


async def test_from_https_no_redirect_leads_to_http(sender, secure, authority, redirect, receiver):
    sender.secrets["ca"] = authority.cert_pem.bytes().decode()
    outcome = await sender.send(url=secure.on("/a", redirect(f"{receiver.url}/b")), tls={"caSecret": "ca"})
    assert outcome.error_class == "insecure-redirect"
    assert not receiver.seen


async def test_plain_http_at_a_tls_port_is_named(sender, receiver):
    outcome = await sender.send(url=receiver.url.replace("http:", "https:"))
    assert outcome.error_class == "tls"
