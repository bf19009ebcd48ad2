"""Where a server is, as its URL says."""

from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import unquote, urlsplit

from storage.errors import StorageRefused

_SECURE = {"clickhouse": False, "clickhouses": True, "http": False, "https": True}


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """The parts of a URL; `repr` and `where` leave the password out."""

    HINT: ClassVar[str] = "write clickhouse://user:password@host:8123/database, with the port of its HTTP interface"

    where: str
    secure: bool
    host: str
    port: int
    user: str
    password: str
    database: str

    @classmethod
    def of(cls, url: str) -> Self:
        """Read a URL.

        Raises:
            StorageRefused: it is not of the form `clickhouse://user:password@host:8123/database`.
        """
        shown = _without_password(url)
        try:
            parts = urlsplit(url)
            secure = _SECURE[parts.scheme]
            host, port = parts.hostname, parts.port
        except (ValueError, KeyError):
            raise StorageRefused(f"{shown!r} is no URL of a ClickHouse; {cls.HINT}") from None
        database = unquote(parts.path.strip("/"))
        if not host or "/" in database or parts.query or parts.fragment:
            raise StorageRefused(f"{shown!r} is no URL of a ClickHouse; {cls.HINT}")
        return cls(
            where=shown,
            secure=secure,
            host=host,
            port=port or (8443 if secure else 8123),
            user=unquote(parts.username or "default"),
            password=unquote(parts.password or ""),
            database=database or "default",
        )

    def __repr__(self) -> str:
        return f"ServerAddress({self.where!r})"

    @property
    def interface(self) -> str:
        """What the driver calls it."""
        return "https" if self.secure else "http"

    @property
    def quoted_database(self) -> str:
        """Its name as it stands in SQL."""
        return "`" + self.database.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
