"""OAuth 2.0: a token is asked for once, used while it is good, and told to nobody but its receiver."""

import asyncio
import base64
import json
import ssl
from urllib.parse import parse_qsl

import pytest
import trustme
from aiohttp import web

from actions.http.limits import HostLimit
from actions.http.tokens import MOST_TOKENS, Token, Tokens
from actions.running import Context, Failed, Resources, Succeeded
from apps.runner.isolation import Isolation
from tests.actions.conftest import LOOPBACK, Receiver, http_action, serve
from vault.interfaces import NoSecrets
from vault.redaction import Redactor

SECRET = "s3cr&t of/the+client"
TOKEN = "tOk3n-{number}.qXv7Zk2mRw8nB3yH6dJ5sF1gC0pA"


class TokenServer:
    """Gives tokens at ``/token`` of a receiver; the last of them is the only one that ``accept`` lets in."""

    def __init__(self, receiver):
        self.receiver = receiver
        self.given = 0
        self.answer = {"token_type": "Bearer", "expires_in": 3600}
        self.url = receiver.on("/token", self.give)

    @property
    def token(self):
        return TOKEN.format(number=self.given)

    @property
    def asked(self):
        return [seen for seen in self.receiver.seen if seen.path_qs.startswith("/token")]

    def give(self, request):
        self.given += 1
        return web.json_response({"access_token": self.token, **self.answer})

    def accept(self, request):
        """Answer as a receiver does that lets in who has a token."""
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401, text="who are you?")
        return web.Response(text="welcome")


@pytest.fixture
def server(sender, other):
    sender.secrets["client"] = SECRET
    sender.redactor = Redactor()
    sender.redactor.know([SECRET])
    return TokenServer(other)


@pytest.fixture
def auth(server):
    return {"type": "oauth2", "tokenUrl": server.url, "clientId": "reports", "clientSecret": "client"}


@pytest.fixture
def clock(sender):
    """The clock by which tokens expire; set ``clock[0]``."""
    times = [1000.0]
    sender.connections(allow_hosts=LOOPBACK).tokens = Tokens(lambda: times[0])
    return times


def form_of(seen):
    return parse_qsl(seen.body.decode())


def credentials(receiver):
    return [seen.headers.get("Authorization") for seen in receiver.seen]


def shown(outcome):
    return json.dumps([outcome.output, outcome.logs, getattr(outcome, "error", None)])


# -- what is asked -------------------------------------------------------------------------------------------------------


async def test_a_token_is_asked_for_once_and_sent_with_every_request(sender, receiver, server, auth):
    first = await sender.send(url=f"{receiver.url}/a", auth=auth)
    second = await sender.send(url=f"{receiver.url}/b", method="POST", auth=auth, headers={"authorization": "mine"})
    assert isinstance(first, Succeeded)
    assert isinstance(second, Succeeded)
    assert credentials(receiver) == [f"Bearer {server.token}"] * 2
    (asked,) = server.asked
    assert asked.method == "POST"
    assert (asked.headers["Accept"], asked.headers["Content-Type"]) == (
        "application/json",
        "application/x-www-form-urlencoded",
    )
    assert asked.headers["User-Agent"].startswith("workflow-automation")
    assert not {"Idempotency-Key", "traceparent"} & set(asked.headers), "it is for whoever needs it"
    assert form_of(asked) == [("grant_type", "client_credentials")]
    assert first.output["timings"]["token"] > 0
    assert second.output["timings"]["token"] is None
    assert first.output["request"]["url"] == f"{receiver.url}/a"


async def test_basic_is_of_what_is_encoded_as_a_form(sender, receiver, server, auth):
    """RFC 6749, 2.3.1: else a colon in the id, or an umlaut in the secret, would be read as something else."""
    sender.secrets["client"] = "pä:ss word"
    await sender.send(url=f"{receiver.url}/a", auth=auth | {"clientId": "a:b"})
    assert server.asked[0].headers["Authorization"] == "Basic " + base64.b64encode(b"a%3Ab:p%C3%A4%3Ass+word").decode()


async def test_id_and_secret_go_into_the_body_where_the_server_wants_that(sender, receiver, server, auth):
    await sender.send(url=f"{receiver.url}/a", auth=auth | {"clientAuth": "body"})
    assert "Authorization" not in server.asked[0].headers
    assert form_of(server.asked[0])[1:] == [("client_id", "reports"), ("client_secret", SECRET)]


async def test_scope_audience_and_whatever_else_are_asked_for(sender, receiver, server, auth):
    more = {"scope": "a b", "audience": "https://api", "form": {"resource": ["x", "y"], "n": 1, "none": None}}
    await sender.send(url=f"{receiver.url}/a", auth=auth | more | {"tokenUrl": server.url + "?tenant=1"})
    assert server.asked[0].path_qs == "/token?tenant=1"
    assert form_of(server.asked[0])[1:] == [
        ("scope", "a b"), ("audience", "https://api"), ("resource", "x"), ("resource", "y"), ("n", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "other_one",
    [
        {"scope": "write"}, {"audience": "them"}, {"form": {"resource": "x"}}, {"clientId": "other"},
        {"clientAuth": "body"}, {"clientSecret": "another"},
    ],
)  # fmt: skip
async def test_what_is_asked_otherwise_is_another_token(sender, receiver, server, auth, other_one):
    sender.secrets["another"] = SECRET
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    await sender.send(url=f"{receiver.url}/a", auth=auth | other_one)
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    assert credentials(receiver) == [f"Bearer {TOKEN.format(number=number)}" for number in (1, 2, 1)]


async def test_a_secret_that_was_replaced_is_used_at_once(sender, receiver, server, auth):
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    sender.secrets["client"] = "the-new-secret"
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    assert len(server.asked) == 2
    assert b"the-new-secret" in base64.b64decode(server.asked[1].headers["Authorization"].removeprefix("Basic "))


async def test_without_its_secret_nothing_is_sent(sender, receiver, server, auth):
    outcome = await sender.send(url=f"{receiver.url}/a", auth=auth | {"clientSecret": "nope"})
    assert (outcome.error_class, "nope" in outcome.message) == ("secret", True)
    assert not server.asked
    assert not receiver.seen


# -- how long it is good -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "answer", "good_for"),
    [
        ("long", {"expires_in": 3600}, 3570),
        ("a text, as Azure once wrote it", {"expires_in": "3600"}, 3570),
        ("short", {"expires_in": 60}, 54),
        ("unsaid", {}, 270),
        ("null", {"expires_in": None}, 270),
        ("nonsense", {"expires_in": "soon"}, 270),
        ("true", {"expires_in": True}, 270),
        ("no number", {"expires_in": "nan"}, 270),
    ],
)
async def test_a_token_is_used_until_shortly_before_its_end(sender, receiver, server, auth, clock, word, answer, good_for):
    server.answer = answer
    began = clock[0]
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    clock[0] = began + good_for - 0.1
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    assert len(server.asked) == 1
    clock[0] = began + good_for
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    assert credentials(receiver) == [f"Bearer {TOKEN.format(number=number)}" for number in (1, 1, 2)]


@pytest.mark.parametrize("expires_in", [0, -5])
async def test_a_token_that_is_over_at_once_is_used_once(sender, receiver, server, auth, expires_in):
    server.answer["expires_in"] = expires_in
    for _ in range(2):
        assert isinstance(await sender.send(url=f"{receiver.url}/a", auth=auth), Succeeded)
    assert len(server.asked) == 2


async def test_its_life_begins_when_it_was_asked_for(sender, receiver, server, auth, clock):
    def slow(request):
        clock[0] += 20
        return server.give(request)

    server.receiver.on("/token", slow)
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    clock[0] += 3550
    await sender.send(url=f"{receiver.url}/a", auth=auth)
    assert len(server.asked) == 2


def make(number, until=10.0):
    return Token(TOKEN.format(number=number), until)


async def test_tokens_do_not_pile_up():
    now = [0.0]
    tokens = Tokens(lambda: now[0])

    async def keep(number, until):
        async def ask():
            return Token("a-token-of-theirs", until)

        await tokens.fetch(str(number).encode(), ask)

    for number in range(MOST_TOKENS):
        await keep(number, until=5.0 if number < 10 else 10.0)
    assert tokens.get(b"0"), "and so it was used after the others"
    await keep("one more", 10.0)
    assert tokens.get(b"1") is None, "the one that was not used for longest makes room"
    assert tokens.get(b"0")
    now[0] = 5.0
    await keep("yet one", 10.0)
    assert len(tokens._tokens) == MOST_TOKENS + 1 - 9
    assert tokens.get(b"11")


# -- by one for all ------------------------------------------------------------------------------------------------------


async def test_of_many_at_once_one_asks(sender, receiver, server, auth):
    outcomes = await asyncio.gather(*(sender.send(url=f"{receiver.url}/a", auth=auth) for _ in range(20)))
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
    assert len(server.asked) == 1
    assert credentials(receiver) == [f"Bearer {server.token}"] * 20


class Asked:
    """Stands where a token is asked for."""

    def __init__(self):
        self.times = 0
        self.answer = asyncio.get_running_loop().create_future()

    async def __call__(self):
        self.times += 1
        return await self.answer


async def waiting(tokens, ask, count):
    tasks = [asyncio.ensure_future(tokens.fetch(b"key", ask)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_who_waits_fails_with_who_asks_and_who_comes_later_asks_anew():
    tokens, ask = Tokens(), Asked()
    tasks = await waiting(tokens, ask, 3)
    ask.answer.set_exception(ValueError("no"))
    assert [str(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == ["no"] * 3
    assert ask.times == 1
    again = Asked()
    again.answer.set_result(token := make(1))
    tokens.now = lambda: 0.0
    assert await tokens.fetch(b"key", again) is token
    assert tokens.get(b"key") is token


async def test_where_who_asks_gives_up_the_next_one_asks():
    tokens, ask = Tokens(lambda: 0.0), Asked()
    first, second, third = await waiting(tokens, ask, 3)
    first.cancel()
    ask.answer = asyncio.get_running_loop().create_future()
    assert isinstance((await asyncio.gather(first, return_exceptions=True))[0], asyncio.CancelledError)
    ask.answer.set_result(token := make(1))
    assert await asyncio.gather(second, third) == [token, token]
    assert ask.times == 2


async def test_who_waits_may_give_up_without_the_others():
    tokens, ask = Tokens(lambda: 0.0), Asked()
    first, second = await waiting(tokens, ask, 2)
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    ask.answer.set_result(token := make(1))
    assert await first is token
    assert ask.times == 1


async def test_an_attempt_whose_time_is_over_leaves_the_asking_to_those_that_have_more(sender, receiver, server, auth):
    asked = asyncio.Event()

    async def first_hangs(request):
        asked.set()
        if len(server.asked) == 1:
            await asyncio.sleep(60)  # ends with its connection
        return server.give(request)

    server.receiver.on("/token", first_hangs)
    hasty = asyncio.ensure_future(sender.send(url=f"{receiver.url}/a", auth=auth, method="POST", timeout="1s"))
    await asyncio.wait_for(asked.wait(), 60)
    patient = asyncio.ensure_future(sender.send(url=f"{receiver.url}/a", auth=auth, timeout="50s"))
    failed = await hasty
    assert (failed.error_class, failed.maybe_done, failed.is_in_doubt) == ("timeout-total", False, False)
    assert f"no token from {server.url}: no complete answer within 1 s" in failed.message
    assert isinstance(await patient, Succeeded)
    assert len(server.asked) == 2


async def test_who_waits_for_a_token_has_sent_nothing_when_his_time_is_over(sender, receiver, server, auth):
    asked, gave_up = asyncio.Event(), asyncio.Event()

    async def hold(request):
        asked.set()
        await gave_up.wait()
        return server.give(request)

    server.receiver.on("/token", hold)
    patient = asyncio.ensure_future(sender.send(url=f"{receiver.url}/a", auth=auth, timeout="50s"))
    await asyncio.wait_for(asked.wait(), 60)
    hasty = {"timeout": "2s", "timeouts": {"connect": "1s"}, "method": "POST", "onUnknown": "fail"}
    failed = await sender.send(url=f"{receiver.url}/a", auth=auth, **hasty)
    gave_up.set()
    assert (failed.error_class, failed.maybe_done, failed.is_in_doubt) == ("timeout-total", False, False)
    assert f"no token from {server.url}: no complete answer within 2 s" in failed.message
    assert isinstance(await patient, Succeeded)
    assert len(server.asked) == 1


# -- when it is refused --------------------------------------------------------------------------------------------------


async def test_a_token_that_has_become_void_is_replaced_within_the_attempt(sender, receiver, server, auth):
    url = receiver.on("/a", server.accept)
    assert isinstance(await sender.send(url=url, auth=auth), Succeeded)
    server.given += 1  # whatever was given before is void now
    outcome = await sender.send(url=url, method="POST", json={"a": 1}, auth=auth)
    assert isinstance(outcome, Succeeded)
    assert outcome.output["text"] == "welcome"
    first, again = receiver.seen[1:]
    assert credentials(receiver)[1:] == [f"Bearer {TOKEN.format(number=number)}" for number in (1, 3)]
    assert first.body == again.body == b'{"a": 1}'
    assert first.headers["Idempotency-Key"] == again.headers["Idempotency-Key"]
    assert first.headers["Workflow-Attempt"] == again.headers["Workflow-Attempt"]


async def test_a_new_token_that_is_refused_is_not_tried_twice_and_not_kept(sender, receiver, server, auth):
    url = receiver.on("/a", lambda request: web.Response(status=401))
    for attempt in (1, 2):
        outcome = await sender.send(url=url, auth=auth, attempt=attempt)
        assert (outcome.error_class, outcome.status) == ("status", 401)
        assert (len(receiver.seen), len(server.asked)) == (attempt, attempt)


async def test_where_the_new_one_is_refused_as_well_that_is_the_answer(sender, receiver, server, auth):
    await sender.send(url=f"{receiver.url}/open", auth=auth)
    outcome = await sender.send(url=receiver.on("/a", lambda request: web.Response(status=401)), auth=auth)
    assert (outcome.error_class, outcome.status) == ("status", 401)
    assert len(receiver.seen) == 3


async def test_a_void_token_of_many_is_replaced_once(sender, receiver, server, auth):
    url = receiver.on("/a", server.accept)
    await sender.send(url=url, auth=auth)
    server.given += 1
    outcomes = await asyncio.gather(*(sender.send(url=url, auth=auth) for _ in range(10)))
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
    assert len(server.asked) == 2


async def test_one_that_somebody_else_has_got_meanwhile_is_used_and_that_once(sender, receiver, server, auth):
    async def refuse(request):
        if request.headers["Authorization"].endswith(TOKEN.format(number=1)):
            server.given += 1
            assert isinstance(await sender.send(url=f"{receiver.url}/b", auth=auth), Succeeded)
        return web.Response(status=401)

    receiver.on("/b", server.accept)
    await sender.send(url=f"{receiver.url}/b", auth=auth)
    outcome = await sender.send(url=receiver.on("/a", refuse), auth=auth)
    assert (outcome.error_class, outcome.status) == ("status", 401)
    used = [seen.headers["Authorization"] for seen in receiver.seen if seen.path_qs == "/a"]
    assert used == [f"Bearer {TOKEN.format(number=number)}" for number in (1, 3)]
    assert len(server.asked) == 2


async def test_a_401_that_is_expected_is_no_reason_for_another_token(sender, receiver, server, auth):
    url = receiver.on("/a", lambda request: web.Response(status=401))
    for _ in range(2):
        assert isinstance(await sender.send(url=url, auth=auth, expect={"statuses": [401]}), Succeeded)
    assert (len(receiver.seen), len(server.asked)) == (2, 1)


async def test_what_was_done_before_a_redirect_is_not_done_again(sender, receiver, server, auth, redirect):
    """The POST was done, and led to where the token is refused."""
    url = receiver.on("/order", redirect("/receipt", 303))
    receiver.on("/receipt", server.accept)
    assert isinstance(await sender.send(url=url, method="POST", auth=auth), Succeeded)
    server.given += 1
    failed = await sender.send(url=url, method="POST", auth=auth)
    assert (failed.status, failed.maybe_done) == (401, True)
    assert [seen.path_qs for seen in receiver.seen] == ["/order", "/receipt"] * 2
    assert isinstance(await sender.send(url=url, method="POST", auth=auth, attempt=2), Succeeded), "with a new token"


async def test_who_was_not_shown_the_token_does_not_refuse_it(sender, receiver, server, auth, redirect):
    url = receiver.on("/a", redirect(server.receiver.on("/b", lambda request: web.Response(status=401))))
    for _ in range(2):
        assert (await sender.send(url=url, auth=auth)).status == 401
    assert len(server.asked) == 1
    assert {seen.headers.get("Authorization") for seen in server.receiver.seen if seen.path_qs == "/b"} == {None}


async def test_without_a_new_token_nothing_was_done(sender, receiver, server, auth):
    url = receiver.on("/a", server.accept)
    await sender.send(url=url, auth=auth)
    server.given += 1
    server.receiver.on("/token", lambda request: web.Response(status=503, headers={"Retry-After": "7"}))
    failed = await sender.send(url=url, method="POST", auth=auth)
    assert (failed.error_class, failed.status, failed.retry_after) == ("token", 503, 7.0)
    assert (failed.maybe_done, failed.is_in_doubt) == (False, False)
    assert failed.output["status"] == 401


# -- when there is none --------------------------------------------------------------------------------------------------


def broken(request):
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "error_class", "status", "said"),
    [
        (lambda _: web.json_response({"error": "invalid_client", "error_description": "who?"}, status=401), "token", 401,
         "it answered 401 invalid_client: who?; check clientId and what clientSecret names, or send them otherwise"),
        (lambda _: web.Response(status=401), "token", 401, "it answered 401; check clientId"),
        (lambda _: web.json_response({"error": "invalid_scope"}, status=400), "token", 400, "invalid_scope; check scope"),
        (lambda _: web.json_response({"error": {"code": 7}}, status=403), "token", 403, "it answered 403 {'code': 7}"),
        (lambda _: web.Response(status=429, headers={"Retry-After": "3"}), "token", 429, "it answered 429"),
        (lambda _: web.Response(status=503, text="<html>"), "token", 503, "it answered 503"),
        (lambda _: web.Response(status=302, headers={"Location": "/other?code=x"}), "token", 302, "write that as tokenUrl"),
        (lambda _: web.Response(text="<html>"), "token", None, "no JSON object with an access_token"),
        (lambda _: web.json_response(["x"]), "token", None, "no JSON object with an access_token"),
        (lambda _: web.json_response({"access_token": 5}), "token", None, "no JSON object with an access_token"),
        (lambda _: web.json_response({"access_token": "abc"}), "token", None, "too short"),
        (lambda _: web.json_response({"access_token": "a" * 20_000}), "token", None, "too long"),
        (lambda _: web.json_response({"access_token": "abc\r\nX: yz"}), "token", None, "what no header may hold"),
        (lambda _: web.json_response({"access_token": "abcdefgh", "token_type": "mac"}), "token", None, "of type 'mac'"),
        (lambda _: web.json_response({"access_token": "abcdefgh", "token_type": None}), "token", None, "of type 'None'"),
        (lambda _: web.Response(text=" " * 70_000), "token", None, "more than 65536 bytes"),
        (broken, "disconnected", None, ""),
    ],
)  # fmt: skip
async def test_why_there_is_no_token_is_told(sender, receiver, server, auth, answer, error_class, status, said):
    server.receiver.on("/token", answer)
    failed = await sender.send(url=f"{receiver.url}/a", method="POST", auth=auth)
    assert isinstance(failed, Failed)
    assert (failed.error_class, failed.status) == (error_class, status)
    assert failed.message.startswith(f"{receiver.url}/a: no token from {server.url}: ")
    assert said in failed.message
    assert failed.retry_after == (3.0 if status == 429 else None)
    assert (failed.maybe_done, failed.is_in_doubt) == (False, False), "its own request never left"
    assert not receiver.seen
    assert "status" not in failed.output
    assert len(server.asked) == 1, "neither the secret nor the request goes elsewhere"


async def test_a_token_server_that_hangs_leaves_nothing_in_doubt(sender, receiver, server, auth):
    async def hang(request):
        await asyncio.sleep(60)

    server.receiver.on("/token", hang)
    failed = await sender.send(
        url=f"{receiver.url}/a", method="POST", auth=auth, timeouts={"firstByte": "1s"}, onUnknown="fail"
    )
    assert (failed.error_class, failed.maybe_done, failed.is_in_doubt) == ("timeout-first-byte", False, False)
    assert f"no token from {server.url}" in failed.message


@pytest.mark.parametrize(
    ("token_url", "error_class"),
    [("http://10.0.0.1/token", "blocked-address"), ("http://127.0.0.1:1/token", "connect")],
)
async def test_a_token_server_is_reached_by_the_same_rules(sender, receiver, server, auth, token_url, error_class):
    failed = await sender.send(url=f"{receiver.url}/a", auth=auth | {"tokenUrl": token_url})
    assert (failed.error_class, f"no token from {token_url}" in failed.message) == (error_class, True)
    assert not receiver.seen


async def test_a_token_is_fetched_through_the_requests_proxy(sender, receiver, server, auth):
    """The receiver stands for the proxy, which is asked for whole addresses."""
    proxy = TokenServer(receiver)
    sender.secrets["p"] = "proxy-password"
    url = "http://localhost:9/a"
    outcome = await sender.send(
        sender.connections(allow_hosts=[*LOOPBACK, "localhost"]),
        url=url,
        auth=auth | {"tokenUrl": "http://localhost:9/token"},
        proxy={"url": receiver.url, "username": "u", "passwordSecret": "p"},
    )
    assert isinstance(outcome, Succeeded), outcome
    assert [seen.headers["Proxy-Authorization"] for seen in receiver.seen] == [
        "Basic " + base64.b64encode(b"u:proxy-password").decode()
    ] * 2
    assert receiver.seen[1].headers["Authorization"] == f"Bearer {proxy.token}"


async def test_a_token_is_fetched_by_the_requests_tls_settings(sender, receiver, server, auth):
    authority = trustme.CA()
    client = authority.issue_cert("client@example.org")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    secure, certificates = Receiver("https"), []
    runner = await serve(secure, ssl_context=context)
    try:
        tokens = TokenServer(secure)

        def note(request):
            certificates.append(request.transport.get_extra_info("peercert"))
            return tokens.give(request)

        auth = auth | {"tokenUrl": secure.on("/token", note)}
        sender.secrets |= {
            "ca": authority.cert_pem.bytes().decode(),
            "cert": "".join(blob.bytes().decode() for blob in client.cert_chain_pems),
            "key": client.private_key_pem.bytes().decode(),
        }
        tls = {"caSecret": "ca", "certificateSecret": "cert", "keySecret": "key"}
        assert isinstance(await sender.send(url=f"{receiver.url}/a", auth=auth, tls=tls), Succeeded)
        assert certificates[0]
        # Whoever trusts somebody else does not get what this one got.
        assert (await sender.send(url=f"{receiver.url}/a", auth=auth)).error_class == "certificate"
    finally:
        await runner.cleanup()


async def test_tokens_and_requests_share_the_slots_of_a_host(sender, receiver, server, auth):
    """One at a time, also where a token is refused by the very host that gives it: nobody waits for himself."""
    connections = sender.connections(allow_hosts=LOOPBACK, default_limit=HostLimit(concurrency=1))
    under_way = most = 0

    async def alone(request, answer):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return answer(request)

    both = server.receiver
    both.on("/token", lambda request: alone(request, server.give))
    url = both.on("/a", lambda request: alone(request, server.accept))
    for asked in (1, 2):
        outcomes = await asyncio.gather(*(sender.send(connections, url=url, auth=auth) for _ in range(5)))
        assert all(isinstance(outcome, Succeeded) for outcome in outcomes)
        assert (most, len(server.asked)) == (1, asked)
        server.given += 1


# -- who gets to know it -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 400])
async def test_a_token_that_is_repeated_is_hidden(sender, receiver, server, auth, status):
    def echo(request):
        told = request.headers["Authorization"]
        token = told.removeprefix("Bearer ")
        return web.json_response(
            {"you": told, "encoded": base64.b64encode(told.encode()).decode(), token: 1},
            status=status,
            headers={"X-Request-Id": token, "Link": f"<https://a/?x={token}>"},
        )

    outcome = await sender.send(url=receiver.on("/a", echo), auth=auth)
    assert isinstance(outcome, Succeeded if status == 200 else Failed)
    written = shown(outcome)
    for piece in (server.token, server.token[4:20], base64.b64encode(server.token.encode()).decode()[4:30]):
        assert piece not in written
    assert outcome.output["json"]["you"] == "Bearer ***"
    assert SECRET not in written


async def test_a_token_is_hidden_where_an_answer_was_cut_within_it(sender, receiver, server, auth):
    url = receiver.on("/a", lambda request: web.Response(text="." * 30 + request.headers["Authorization"][7:]))
    outcome = await sender.send(url=url, auth=auth, storeBody=50)
    assert outcome.output["text"] == "." * 30 + "***"
    assert server.token[:6] not in shown(outcome)


async def test_every_token_of_an_attempt_is_hidden(sender, receiver, server, auth, redirect):
    def refuse(request):
        if request.headers["Authorization"].endswith(server.token):
            return redirect(f"/b?old={TOKEN.format(number=1)}&new={server.token}")(request)
        return web.Response(status=401)

    await sender.send(url=f"{receiver.url}/open", auth=auth)
    server.given += 1
    outcome = await sender.send(url=receiver.on("/a", refuse), auth=auth)
    assert isinstance(outcome, Succeeded)
    assert outcome.output["redirects"] == [f"{receiver.url}/b?old=***&new=***"]


@pytest.mark.parametrize("client_auth", ["basic", "body"])
async def test_what_was_sent_for_a_token_is_hidden_where_it_is_repeated(sender, receiver, server, auth, client_auth):
    def repeat(request):
        description = f"{request.headers.get('Authorization')} {server.asked[0].body.decode()}"
        return web.json_response({"error": "invalid_client", "error_description": description}, status=400)

    server.receiver.on("/token", repeat)
    outcome = await sender.send(url=f"{receiver.url}/a", auth=auth | {"clientAuth": client_auth})
    told = sender.redactor.value(outcome.message)  # as the runner does
    sent = {
        "basic": server.asked[0].headers.get("Authorization", "")[-16:],
        "body": server.asked[0].body.decode().partition("client_secret=")[2],
    }[client_auth]
    assert sent
    assert sent not in told
    assert "***" in told


async def test_a_redirect_elsewhere_loses_the_token(sender, receiver, server, auth, redirect):
    server.receiver.on("/b", redirect(f"{receiver.url}/c"))
    await sender.send(url=receiver.on("/a", redirect(f"{server.receiver.url}/b")), auth=auth)
    assert credentials(receiver) == [f"Bearer {server.token}", None]
    assert [seen.headers.get("Authorization") for seen in server.receiver.seen if seen.path_qs == "/b"] == [None]


async def test_a_token_says_nothing_of_itself_where_it_is_printed():
    assert TOKEN.format(number=1) not in repr(make(1))


async def test_a_token_that_a_process_of_its_own_has_fetched_is_hidden_there(receiver, server, auth, monkeypatch):
    """What comes out of that process is all that the runner sees of the token."""
    monkeypatch.setenv("WF_SECRET_client", SECRET)
    monkeypatch.setenv("HTTP_ALLOW_HOSTS", "127.0.0.0/8")
    url = receiver.on("/a", lambda request: web.Response(text=f"you are {request.headers['Authorization']}"))
    resources = Resources(http=None, secrets=NoSecrets())
    context = Context("e", "w", "a", attempt=1, epoch=1, resources=resources)
    async with Isolation(after=2, limit=1).process() as apart:
        outcome = await apart.run(http_action(url=url, auth=auth), context)
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.output["text"] == "you are Bearer ***"
    assert credentials(receiver) == [f"Bearer {server.token}"]
