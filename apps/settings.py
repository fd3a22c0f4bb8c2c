"""Settings that every service reads from its environment."""

import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import Self

from events.retentions import Retentions
from store.addresses import check_connection_string, check_database_name, lacks_password
from vault.keys import BadKey, KeySource

LONGEST_RETENTION: Final = 20_000  # days; what is left when it is taken from now is an instant that everything can represent
_BROKER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/@\[\]]+)(:(?P<port>[0-9]{1,5}))?")


class BadSettings(SystemExit):
    """Ends the process with a message for each setting that is wrong, rather than a traceback."""

    def __init__(self, complaints: Iterable[str]) -> None:
        super().__init__("\n".join(f"error: {complaint}" for complaint in complaints))


def complaints(error: ValidationError, prefix: str = "") -> Iterator[str]:
    """Yield what is wrong with settings, by the variable that mends it; all of them begin with ``prefix``."""
    from actions.wording import told  # with all that actions may say of themselves, for nothing where nothing is wrong

    for problem in error.errors(include_url=False):
        variable, inside = problem["loc"][:1], problem["loc"][1:]
        places = [*(f"{prefix}{name}".upper() for name in variable), *filter(None, [".".join(map(str, inside))])]
        _, message = told(problem, None)
        yield ": ".join([*places, message])


Settings = TypeVar("Settings", bound=BaseSettings)


def read(kind: type[Settings]) -> Settings:
    """Return the settings of this environment.

    Raises:
        BadSettings: some are wrong.
    """
    try:
        return kind()
    except ValidationError as error:
        raise BadSettings(complaints(error)) from None


@contextmanager
def _opening(what: str, path: Path | str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise ValueError(f"there is no {what} {path}") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None


def _check_readable(path: Path | str) -> None:
    with _opening("file", path), Path(path).open("rb"):
        pass


def _is_readable(path: str) -> str:
    if path:
        _check_readable(path)
    return path


def _holds_authorities(path: str) -> str:
    if path:
        _check_readable(path)
        try:
            ssl.create_default_context(cafile=path)
        except ssl.SSLError:
            raise ValueError(f"{path} holds no certificate in PEM") from None
    return path


def _is_readable_path(path: Path | None) -> Path | None:
    if path is not None:
        _check_readable(path)
    return path


def _is_directory(path: Path | None) -> Path | None:
    if path is not None:
        with _opening("directory", path):
            next(path.iterdir(), None)
    return path


def _given(value: object) -> object:
    return None if value == "" else value  # rather than the working directory


def _are_brokers(addresses: str) -> str:
    for address in addresses.split(","):
        found = _BROKER.fullmatch(address.strip())
        if found is None or not 1 <= int(found["port"] or 1) <= 65535:
            raise ValueError("write host:port[,host:port], with ports of 1 to 65535")
    return addresses


def _is_connection_string(url: str) -> str:
    check_connection_string(url)
    return url


def _is_database_name(name: str) -> str:
    check_database_name(name)
    return name


File = Annotated[str, AfterValidator(_is_readable)]
AuthoritiesFile = Annotated[str, AfterValidator(_holds_authorities)]
FilePath = Annotated[Path | None, BeforeValidator(_given), AfterValidator(_is_readable_path)]
Directory = Annotated[Path | None, BeforeValidator(_given), AfterValidator(_is_directory)]
DatabaseName = Annotated[str, AfterValidator(_is_database_name)]
Brokers = Annotated[str, AfterValidator(_are_brokers)]
ConnectionString = Annotated[str, AfterValidator(_is_connection_string)]


class ServiceSettings(BaseSettings):
    """Shared by the three services; each adds its own."""

    model_config = SettingsConfigDict(extra="ignore")

    kafka_bootstrap: Brokers = Field(default="127.0.0.1:9092", description="Kafka brokers, host:port, comma-separated.")
    kafka_replication_factor: int = Field(default=1, ge=1, description="Of the topics that a service creates.")
    kafka_fetch_wait_ms: int = Field(
        default=30, ge=10, le=1500, description="Longest wait of a fetch at the broker while records are being consumed."
    )
    kafka_session_timeout: float = Field(
        default=10.0,
        ge=6,
        le=60,
        description="Seconds after which Kafka gives the partitions of a silent worker to another; within what the broker "
        "allows (group.min.session.timeout.ms is 6 s).",
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How to talk to Kafka: encrypted or not, with a password or not."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="PLAIN", description="How the password is proved; for SASL_PLAINTEXT and SASL_SSL."
    )
    kafka_username: str = Field(default="", description="For SASL_PLAINTEXT and SASL_SSL.")
    kafka_password: SecretStr = Field(default=SecretStr(""), description="For SASL_PLAINTEXT and SASL_SSL.")
    kafka_ca_file: AuthoritiesFile = Field(
        default="", description="PEM file of the authorities that sign the brokers' certificates; the system's where empty."
    )
    kafka_certificate_file: File = Field(
        default="", description="PEM file of this client's certificate, if Kafka asks for it."
    )
    kafka_key_file: File = Field(default="", description="PEM file of its key, where it is not in the same file.")
    mongodb_url: ConnectionString = Field(default="mongodb://127.0.0.1:27017", description="MongoDB connection string.")
    mongodb_username: str = Field(default="", description="User of the database; may also stand in MONGODB_URL.")
    mongodb_password: SecretStr = Field(default=SecretStr(""), description="Password of that user.")
    mongodb_ca_file: AuthoritiesFile = Field(
        default="", description="PEM file of the authorities that sign the database's certificate; turns TLS on."
    )
    mongodb_database: DatabaseName = Field(default="workflows", description="Name of the database.")
    mongodb_timeout: float = Field(default=3.0, gt=0, description="Seconds until an unreachable database is an error.")
    republish_after: float = Field(
        default=8.0,
        gt=0,
        description="Seconds until a request that runners have passed without starting it is published again.",
    )
    max_lost_attempts: int = Field(
        default=3,
        ge=0,
        description="Runners that an execution may lose in a row, without a result in between; one more gives it up.",
    )
    liveness_interval: float = Field(
        default=5.0, gt=0, description="Seconds between two looks at how far the partitions are read."
    )
    stall_after: float = Field(
        default=60.0,
        gt=0,
        description="Seconds without reading, though there are records, after which /health says 503; twice that, and the "
        "process stops to be started anew.",
    )
    publish_own_topics: bool = Field(
        default=False, description="Whether publish actions may send to the topics of this system as well."
    )
    retention_days: float = Field(
        default=30.0,
        gt=0,
        le=LONGEST_RETENTION,
        description="How long finished executions are kept, and as long as one is open that has triggered them; a change "
        "counts for those that are there already.",
    )
    kafka_retention_days: float | None = Field(
        default=None,
        ge=1,
        le=LONGEST_RETENTION,
        description="How long Kafka keeps requests and results, by which wf verify and wf rebuild tell the history: not "
        "less than RETENTION_DAYS, and a day more where nothing is given. A change counts for the topics that are there.",
    )
    dead_letter_retention_days: float = Field(
        default=30.0, ge=1, le=LONGEST_RETENTION, description="How long Kafka keeps dead letters."
    )
    data_dir: Path = Field(default=Path("data"), description="Where a service keeps files of its own.")
    web_host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    web_name: str = Field(
        default="", description="Name by which other workers reach this one; web_host where empty. Set it in containers."
    )
    secrets_key: str = Field(
        default="", repr=False, description="Keys that secrets are encrypted with (32 bytes in base64, the first encrypts)."
    )
    secrets_key_file: FilePath = Field(
        default=None, description="File with the keys, one per line; read anew when it changes, and instead of SECRETS_KEY."
    )
    secrets_dir: Directory = Field(
        default=None, description="Directory of mounted secrets: each file's name is a secret's, its content the value."
    )
    auth: Literal["none", "tokens", "open"] = Field(
        default="none",
        description="none: everybody on this machine may do everything, and the service listens on loopback only; "
        "tokens: requests need a token (`wf tokens create`); open: everybody who can reach the service may do everything.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severe level logged.")
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="text on a terminal and JSON elsewhere, or always one of them."
    )

    @model_validator(mode="after")
    def _sasl_is_complete(self) -> Self:
        if self.kafka_security_protocol.startswith("SASL_") and not self.kafka_username:
            raise ValueError(
                f"KAFKA_SECURITY_PROTOCOL={self.kafka_security_protocol} needs KAFKA_USERNAME and KAFKA_PASSWORD"
            )
        return self

    @model_validator(mode="after")
    def _database_user_is_complete(self) -> Self:
        if self.mongodb_username and not self.mongodb_password.get_secret_value():
            raise ValueError("MONGODB_USERNAME: needs MONGODB_PASSWORD; or give both in MONGODB_URL instead")
        if not self.mongodb_username and lacks_password(self.mongodb_url):
            raise ValueError(
                "MONGODB_URL: names a user without a password; write mongodb://user:password@host, or set MONGODB_USERNAME "
                "and MONGODB_PASSWORD"
            )
        return self

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if self.kafka_key_file and not self.kafka_certificate_file:
            raise ValueError("KAFKA_KEY_FILE: needs KAFKA_CERTIFICATE_FILE")
        if self.kafka_certificate_file:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            try:
                # With no passphrase at all, the terminal would be asked for that of an encrypted key.
                context.load_cert_chain(self.kafka_certificate_file, self.kafka_key_file or None, password="")
            except ssl.SSLError:
                raise ValueError(
                    "KAFKA_CERTIFICATE_FILE: must hold a certificate in PEM, and KAFKA_KEY_FILE (or the same file) the key "
                    "of that certificate, without a passphrase"
                ) from None
        return self

    @model_validator(mode="after")
    def _secrets_have_their_keys(self) -> Self:
        try:
            KeySource(self.secrets_key, self.secrets_key_file).ring()
        except BadKey as error:
            raise ValueError(str(error)) from None
        return self

    @model_validator(mode="after")
    def _history_can_be_told(self) -> Self:
        if self.kafka_retention_days is not None and self.kafka_retention_days < self.retention_days:
            raise ValueError(
                f"KAFKA_RETENTION_DAYS={self.kafka_retention_days:g} is less than RETENTION_DAYS={self.retention_days:g}: "
                "wf verify and wf rebuild could not tell of executions that are still there; raise it, or lower the other"
            )
        return self

    @property
    def topic_retentions(self) -> Retentions:
        """How long the topics keep their records."""
        history = self.kafka_retention_days or self.retention_days + 1
        return Retentions(history=timedelta(days=history), dead_letters=timedelta(days=self.dead_letter_retention_days))

    @property
    def retention(self) -> timedelta:
        """How long finished executions are kept."""
        return timedelta(days=self.retention_days)

    @property
    def mongodb_credentials(self) -> dict[str, Any]:
        """What the driver is told beside the URL."""
        made: dict[str, Any] = {}
        if self.mongodb_username:
            made |= {"username": self.mongodb_username, "password": self.mongodb_password.get_secret_value()}
        if self.mongodb_ca_file:
            made |= {"tls": True, "tlsCAFile": self.mongodb_ca_file}
        return made
