"""The three services, and every command that asks Kafka itself, against a Kafka that asks for a password over TLS."""

import asyncio
import json

import aiohttp
import pytest
import pytest_asyncio
import trustme
from aiokafka.admin import NewTopic
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from apps import kafka_security
from apps.settings import ServiceSettings
from apps.standalone.kafka import Kafka
from apps.standalone.settings import HOST, StandaloneSettings
from apps.standalone.stack import Dependencies, Stack, on_free_ports
from tests.cli.wf_process import environment
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

JAAS = (
    'org.apache.kafka.common.security.plain.PlainLoginModule required username="broker" password="of-the-broker" '
    'user_broker="of-the-broker" user_wf="open-sesame";'
)


class GuardedKafka(Kafka):
    """A broker whose only listener takes TLS and a password."""

    authority: trustme.CA
    as_client: ServiceSettings

    async def prepare(self):
        await super().prepare()
        certificate = self.cwd / "broker.pem"
        issued = self.authority.issue_cert(HOST)
        key = load_pem_private_key(issued.private_key_pem.bytes(), None)
        # Java reads keys in PKCS #8 alone.
        certificate.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        for part in issued.cert_chain_pems:
            part.write_to_path(certificate, append=True)
        text = self.properties.read_text()
        for plain, guarded in (
            (f"PLAINTEXT://{HOST}:{self.port}", f"SASL_SSL://{HOST}:{self.port}"),
            ("PLAINTEXT:PLAINTEXT", "SASL_SSL:SASL_SSL"),
            ("inter.broker.listener.name=PLAINTEXT", "inter.broker.listener.name=SASL_SSL"),
        ):
            assert plain in text
            text = text.replace(plain, guarded)
        more = {
            "sasl.enabled.mechanisms": "PLAIN",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": JAAS,
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": certificate,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self.as_client.kafka_ca_file,
        }
        self.properties.write_text(text + "".join(f"{name}={value}\n" for name, value in more.items()))

    async def is_ready(self):
        admin = kafka_security.broker(self.as_client).admin()
        try:
            await asyncio.wait_for(admin.start(), 5)
            return True
        except Exception:
            return False
        finally:
            await admin.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guarded(tmp_path_factory):
    """A stack of its own, and the variables that name it."""
    folder = tmp_path_factory.mktemp("guarded")
    settings = on_free_ports(StandaloneSettings(data_dir=folder))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    variables = {
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_SASL_MECHANISM": "PLAIN",
        "KAFKA_USERNAME": "wf",
        "KAFKA_PASSWORD": "open-sesame",
        "KAFKA_CA_FILE": str(folder / "ca.pem"),
    }
    dependencies = Dependencies(settings)
    kafka = GuardedKafka(
        port=settings.kafka_port,
        controller_port=settings.kafka_controller_port,
        data_dir=folder / "kafka",
        cache_dir=settings.cache_dir,
        progress=lambda line: None,
        stop_timeout=settings.stop_timeout,
    )
    kafka.authority = authority
    kafka.as_client = ServiceSettings(
        kafka_bootstrap=kafka.bootstrap, **{name.lower(): value for name, value in variables.items()}
    )
    dependencies.kafka = dependencies.children["kafka"] = kafka
    lines = []
    stack = Stack(
        settings,
        servers=dependencies,
        environment={"SCHEDULER_INTERVAL": "1", "LIVENESS_INTERVAL": "1", **variables},
        sink=lambda name, line: lines.append(f"{name}: {line}"),
    )
    async with dependencies, stack:
        names = {"KAFKA_BOOTSTRAP": stack.kafka_bootstrap, "MONGODB_URL": stack.mongodb_url}
        yield stack, {**environment(stack.api_url, 200), **names, **variables}, lines


@pytest.fixture
def wf(guarded, processes, tmp_path):
    async def run(*args, code=0, **more):
        result = await processes.run(*args, cwd=tmp_path, env={**guarded[1], **more})
        assert result.code == code, result.out + result.err
        return result.out

    return run


async def test_a_workflow_runs_and_is_retried(wf, tmp_path):
    # Nobody listens there: the retry comes from the scheduler, by way of the topics.
    (tmp_path / "flaky.yaml").write_text(
        "workflowId: flaky\ntrigger: {type: manual}\nretries: 1\nbackoff: {base: 1s, jitter: none}\n"
        "actions: [{type: http-request, url: 'http://127.0.0.1:1/', method: GET}]\n"
    )
    await wf("apply", "flaky.yaml")
    shown = json.loads(await wf("trigger", "flaky", "--wait", "--json", code=1))
    assert (shown["status"], shown["attempt"]) == ("failed", 2)


async def test_what_asks_kafka_beside_the_consumers_is_let_in(guarded, wf):
    stack, _, lines = guarded
    doctor = json.loads(await wf("doctor", "--json"))
    assert {finding["result"] for finding in doctor} == {"ok"}
    assert await wf("dead-letters", "list", "--json") == "[]\n"  # the letter box
    assert json.loads(await wf("verify", "--json"))["differing"] == 0
    async with aiohttp.ClientSession() as session, session.get(f"{stack.api_url}/system") as response:
        assert (await response.json())["kafka"] == "ok"
    assert not [line for line in lines if "kafka does not answer" in line]  # the liveness of each service


async def test_live_updates_come_through(guarded, wf):
    stack, _, _ = guarded
    async with aiohttp.ClientSession() as session, session.get(f"{stack.api_url}/events/stream") as stream:
        assert (stream.status, stream.content_type) == (200, "text/event-stream")
        await wf("trigger", "flaky")

        async def requested():
            async for line in stream.content:
                if line.startswith(b"event: execution-requested"):
                    await stream.content.readline()  # its id
                    return json.loads((await stream.content.readline()).removeprefix(b"data: "))
            pytest.fail("the stream has ended")

        assert (await asyncio.wait_for(requested(), 60))["workflowId"] == "flaky"


async def test_a_topic_starts_a_workflow(guarded, wf, tmp_path):
    variables = {name.lower(): value for name, value in guarded[1].items() if name.startswith("KAFKA_")}
    admin = kafka_security.broker(ServiceSettings(**variables)).admin()
    await admin.start()
    await admin.create_topics([NewTopic("orders", 1, 1)])
    await admin.close()
    (tmp_path / "arrived.yaml").write_text(
        "workflowId: arrived\ntrigger: {type: manual}\nkafka: {topic: orders}\n"
        "actions: [{type: log, message: '{{ input.value.order }}'}]\n---\n"
        "workflowId: sent\ntrigger: {type: manual}\n"
        "actions: [{type: publish, topic: orders, value: {order: 17}}]\n"
    )
    await wf("apply", "arrived.yaml")
    await wf("trigger", "sent", "--wait")

    async def is_started():
        return json.loads(await wf("executions", "--workflow", "arrived", "--status", "ok", "--json"))

    await until(is_started, "the record has started an execution")


async def test_a_wrong_password_is_told(wf):
    shown = await wf("doctor", code=1, KAFKA_PASSWORD="wrong")
    assert "AuthenticationFailed" in shown
    assert "Check KAFKA_USERNAME and KAFKA_PASSWORD." in shown
