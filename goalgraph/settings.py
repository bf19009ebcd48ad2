"""Settings of the application, read once from the environment: the only place that reads it."""

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from planner.limits import Limits


class Settings(BaseSettings):
    """What the environment says, with the prefix `GOALGRAPH_`; each field can also be given by hand."""

    model_config = SettingsConfigDict(
        env_prefix="GOALGRAPH_", env_nested_delimiter="__", extra="ignore", populate_by_name=True
    )

    data_dir: Path = Path(".goalgraph")
    """Where the embedded stores keep their data."""
    model: str | None = None
    """A model's name, such as one that `base_url` serves; without it goals are planned by types."""
    base_url: str | None = None
    """Of an OpenAI-compatible server; the client's own default otherwise."""
    api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("GOALGRAPH_API_KEY", "OPENAI_API_KEY", "api_key")
    )
    model_timeout: float = 60.0
    """Seconds for one model call."""
    limits: Limits = Limits()
    """Bounds of every plan and run, one by one: `GOALGRAPH_LIMITS__STEPS=500`, `…__STEP_TIMEOUT=PT30S`."""
