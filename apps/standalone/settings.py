"""Where the standalone stack keeps its data and which ports it listens on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]

#: Everything listens on loopback only: neither Kafka nor the database asks for a password.
HOST = "127.0.0.1"


def default_data_dir() -> Path:
    """The platform's place for the data of one user's applications."""
    name = "workflow-automation"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / name
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / name
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / name


def default_cache_dir() -> Path:
    """The platform's place for what can be fetched again."""
    name = "workflow-automation"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / name / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / name
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / name


class StandaloneSettings(BaseSettings):
    """Settings of `wf up`; each is also an environment variable with the prefix ``WF_``."""

    model_config = SettingsConfigDict(env_prefix="WF_", extra="ignore")

    data_dir: Path = Field(
        default_factory=default_data_dir, description="Kafka's log, the database files and the services' state."
    )
    cache_dir: Path = Field(default_factory=default_cache_dir, description="Kafka's jars, shared by all data directories.")
    kafka_port: Port = Field(default=9092, description="Port of Kafka.")
    kafka_controller_port: Port | None = Field(
        default=None,
        description="Kafka's own controller listener; a free port where not given.",
    )
    mongodb_port: Port = Field(default=27017, description="Port of the database.")
    workflows_port: Port = Field(default=8081, description="Port of the API.")
    scheduler_port: Port = Field(default=8082, description="Port of the scheduler.")
    runner_port: Port = Field(default=8083, description="Port of the runner.")
    http_allow_hosts: str = Field(
        default="127.0.0.0/8,::1",
        description="What workflows may reach beside public addresses; by default what runs on this machine.",
    )
    start_timeout: Annotated[float, Field(gt=0)] = Field(
        default=90.0,
        description="Seconds that Kafka and the database, and then the services, may take to be ready, without downloads.",
    )
    stop_timeout: Annotated[float, Field(gt=0)] = Field(
        default=15.0, description="Seconds that a child may take to stop before it is killed."
    )
