"""Settings of the HTTP API."""

from pydantic import Field

from apps.settings import ServiceSettings


class WorkflowsSettings(ServiceSettings):
    """Read from the environment."""

    web_port: int = Field(default=8081, ge=1, le=65535, description="Port that the API listens on.")
    workflows_body_limit: int = Field(default=1_048_576, ge=1024, description="Longest request body in bytes.")
    workflows_publish_timeout: float = Field(
        default=2.0,
        gt=0,
        description="Seconds to wait for Kafka's acknowledgement; the scheduler sees to what was not acknowledged.",
    )
    session_hours: float = Field(default=12.0, gt=0, description="Hours after which a browser must log in again.")
    cors_origins: str = Field(
        default="",
        description="Other origins whose pages may use the API with a token, as in https://ui.example.org; comma-separated.",
    )

    @property
    def origins(self) -> frozenset[str]:
        """The origins, one by one."""
        return frozenset(filter(None, (origin.strip().rstrip("/") for origin in self.cors_origins.split(","))))
