"""Settings of the application, read once from the environment: the only place that reads it."""

import json
import os
from datetime import timedelta
from pathlib import Path
from string import hexdigits
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from planner.catalog.spec import Effect
from planner.limits import Limits
from planner.runs import RunPolicy
from storage.clickhouse import Layout
from storage.clickhouse.urls import ServerAddress
from storage.errors import StorageRefused
from storage.redis.keys import Keys
from storage.serde import strict_serializer


class StorageSettings(BaseModel):
    """Where runs are kept; without addresses, in the data directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    redis_url: str | None = None
    """`redis://`, `rediss://` or `redis+cluster://`; without it, a private server in the data directory."""
    archive_url: str | None = None
    """`clickhouse://`, `http://` or `https://`; without it, ClickHouse inside the process, in the data directory."""
    redis_server: Path | None = None
    """The program of the private server; otherwise one is looked for."""
    key_prefix: str = "gg"
    """Of every key in Redis, so that several applications can share a server."""
    encryption_key: SecretStr | None = None
    """What is stored is encrypted with it (AES): 32, 48 or 64 hexadecimal digits, as `openssl rand -hex 32` gives."""
    allowed_types: Annotated[tuple[str, ...], NoDecode] = ()
    """Types, as `package.module:Name`, that may be loaded beside plain data; with commas between, or as JSON."""
    outbox_limit: int = Field(default=1_000_000, gt=0)
    """How many records of one partition may wait for the archive before new ones are refused."""
    keep_checkpoints: int = Field(default=3, gt=0)
    """How many checkpoints of a thread stay in Redis, once they are archived."""
    idle_after: timedelta = Field(default=timedelta(days=7), gt=timedelta(0))
    """How long a thread may be idle before it leaves Redis, once it is archived."""
    fsync: Literal["everysec", "always"] = "everysec"
    """When the private server writes to the disk: each second, or before each answer."""
    engine: str | None = None
    """The engine clause of the archive's tables, for a cluster of ClickHouse servers."""

    @field_validator("encryption_key")
    @classmethod
    def _is_a_key(cls, value: SecretStr | None) -> SecretStr | None:
        digits = "" if value is None else value.get_secret_value()
        if value is not None and (len(digits) not in {32, 48, 64} or set(digits) - set(hexdigits)):
            raise ValueError("a key has 32, 48 or 64 hexadecimal digits; make one with: openssl rand -hex 32")
        return value

    @field_validator("key_prefix")
    @classmethod
    def _is_a_prefix(cls, value: str) -> str:
        return Keys(value).prefix

    @field_validator("allowed_types", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Take a list as people write it in the environment."""
        if not isinstance(value, str):
            return value
        if not value.lstrip().startswith("["):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        try:
            return json.loads(value)
        except ValueError:
            raise ValueError("that is no JSON; write package.module:Name, with commas between several") from None

    @field_validator("allowed_types")
    @classmethod
    def _name_types(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        strict_serializer(value)
        return value

    @field_validator("archive_url")
    @classmethod
    def _is_a_url(cls, value: str | None) -> str | None:
        try:
            return value if value is None else ServerAddress.of(value) and value
        except StorageRefused as error:
            raise ValueError(str(error)) from None

    @field_validator("engine")
    @classmethod
    def _is_an_engine(cls, value: str | None) -> str | None:
        return value if value is None else Layout(engine=value).engine

    @property
    def key(self) -> bytes | None:
        """The key, as bytes."""
        return None if self.encryption_key is None else bytes.fromhex(self.encryption_key.get_secret_value())


class Settings(BaseSettings):
    """What the environment says, with the prefix `GOALGRAPH_`; each field can also be given by hand."""

    model_config = SettingsConfigDict(
        env_prefix="GOALGRAPH_",
        env_nested_delimiter="__",
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,  # it may be a key
    )

    data_dir: Path = Path(".goalgraph")
    """Where the embedded stores keep their data."""
    storage: StorageSettings = StorageSettings()
    """Where runs are kept, one by one: `GOALGRAPH_STORAGE__REDIS_URL=redis://…`."""
    model: str | None = None
    """A model's name, such as one that `base_url` serves; without it goals are planned by types."""
    base_url: str | None = None
    """Of an OpenAI-compatible server; the client's own default otherwise."""
    api_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("GOALGRAPH_API_KEY", "OPENAI_API_KEY", "api_key")
    )
    model_timeout: float = 60.0
    """Seconds for one model call."""
    skills: Annotated[tuple[Path, ...], NoDecode] = (Path(".agents/skills"),)
    """Folders of skills, with `:` between several, that are data to the planner; one that is not there is told.

    Unless it is the default, which is the place where the open standard puts the skills of a project.
    """
    trusted_skills: Annotated[tuple[Path, ...], NoDecode] = ()
    """Folders of skills whose text is instruction, and may replace ours: `~/.agents/skills`, say."""
    approve: frozenset[Effect] = frozenset()
    """Effects whose actions run only when a person agrees, as JSON: `GOALGRAPH_APPROVE='["external"]'`."""
    broker_url: str | None = None
    """Redis database of the queue that wakes workers up; otherwise the one after the runs' own, on their server."""
    runs: RunPolicy = RunPolicy()
    """How this process takes part in advancing runs, one by one: `GOALGRAPH_RUNS__LEASE=10`."""
    limits: Limits = Limits()
    """Bounds of every plan and run, one by one: `GOALGRAPH_LIMITS__STEPS=500`, `…__STEP_TIMEOUT=PT30S`."""

    @field_validator("skills", "trusted_skills", mode="before")
    @classmethod
    def _folders(cls, value: Any) -> Any:
        """Take several folders as people write a path in the environment."""
        return tuple(filter(None, value.split(os.pathsep))) if isinstance(value, str) else value
