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

    #: Kafka's log, the database files and the services' state.
    data_dir: Path = Field(default_factory=default_data_dir)
    #: Kafka's jars, shared by all data directories.
    cache_dir: Path = Field(default_factory=default_cache_dir)
    kafka_port: Port = 9092
    #: Kafka's own controller listener. Only the broker itself connects to it, so a free port is picked at each start.
    kafka_controller_port: Port | None = None
    mongodb_port: Port = 27017
    workflows_port: Port = 8081
    scheduler_port: Port = 8082
    runner_port: Port = 8083
    #: Seconds that Kafka and the database, and then the services, may take until ready (downloads not counted).
    start_timeout: Annotated[float, Field(gt=0)] = 90.0
    #: Seconds that a child may take to stop before it is killed.
    stop_timeout: Annotated[float, Field(gt=0)] = 15.0
