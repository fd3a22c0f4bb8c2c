"""Settings that every service reads from its environment."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Shared by the three services; each adds its own."""

    model_config = SettingsConfigDict(extra="ignore")

    kafka_bootstrap: str = Field(default="127.0.0.1:9092", description="Kafka brokers, host:port, comma-separated.")
    kafka_replication_factor: int = Field(default=1, ge=1, description="Of the topics that a service creates.")
    kafka_fetch_wait_ms: int = Field(
        default=30, ge=10, le=1500, description="Longest wait of a fetch at the broker; trades idle CPU for latency."
    )
    kafka_session_timeout: float = Field(
        default=10.0, ge=1, description="Seconds after which Kafka gives the partitions of a silent worker to another."
    )
    mongodb_url: str = Field(default="mongodb://127.0.0.1:27017", description="MongoDB connection string.")
    mongodb_database: str = Field(default="workflows", description="Name of the database.")
    mongodb_timeout: float = Field(default=3.0, gt=0, description="Seconds until an unreachable database is an error.")
    republish_after: float = Field(
        default=10.0, gt=0, description="Seconds until a request that no runner has started is published again."
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
    retention_days: float = Field(default=30.0, gt=0, description="How long finished executions are kept.")
    ledger_retention_days: float = Field(
        default=90.0, gt=0, description="How long it is told of ticks that were skipped, missed or held."
    )
    data_dir: Path = Field(default=Path("data"), description="Where a service keeps files of its own.")
    web_host: str = Field(default="127.0.0.1", description="Address that the service listens on.")
    web_name: str = Field(
        default="", description="Name by which other workers reach this one; web_host where empty. Set it in containers."
    )
    secrets_key: str = Field(
        default="", description="Keys that secrets are encrypted with (32 bytes in base64, the first encrypts)."
    )
    secrets_key_file: Path | None = Field(
        default=None, description="File with the keys, one per line; read anew when it changes, and instead of SECRETS_KEY."
    )
    secrets_dir: Path | None = Field(
        default=None, description="Directory of mounted secrets: each file's name is a secret's, its content the value."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least severe level logged.")
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="text on a terminal and JSON elsewhere, or always one of them."
    )
