"""What an operator sets: addresses, folders, limits, how long things are kept.

Each is an environment variable, EEMT_SERVICE_ and its name in capitals, or a key of the YAML file that
EEMT_SERVICE_FILE names, or a file of its name in the folder that EEMT_SERVICE_SECRETS names.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from functools import cached_property
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)

from eemt.errors import InputError

PREFIX = "EEMT_SERVICE_"
GIGABYTE = 1_000_000_000


class Settings(BaseSettings):
    """Settings of the service; those given by name come before the environment, this before files."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True, env_ignore_empty=True)

    # where it listens
    host: str = Field("127.0.0.1", description="Address to listen on; any but this machine's own needs accounts")
    port: int = Field(8420, ge=0, le=65535, description="Port that it listens on; 0 takes a free one")
    public_url: str | None = Field(
        None, pattern=r"^https?://[^\s?#]+$", description="Address under which users reach it, behind a proxy"
    )
    trusted_hosts: tuple[str, ...] = Field(
        (), description="Names in addresses that are answered beside those of host and public_url; others are refused"
    )
    proxies: tuple[str, ...] = Field((), description="Addresses of proxies whose X-Forwarded headers are believed")
    metrics_from: tuple[str, ...] = Field(
        (), description="Networks, such as 10.0.0.0/8, that read /metrics without a token, as this machine does"
    )
    accounts: bool | None = Field(
        None, description="Whether users sign in; without a value, where host is not this machine's own address"
    )

    # what it stands on
    folder: Path = Field(
        default_factory=lambda: user_data_path("eemt") / "service",
        description="Folder of the database, uploads, work, results and caches, as far as these have none of their own",
    )
    uploads_folder: Path | None = Field(None, description="Folder of uploads")
    jobs_folder: Path | None = Field(None, description="Folder of jobs: one each, with its config, results and logs")
    cache_folder: Path | None = Field(None, description="Folder of what is fetched once for all jobs, such as climate")
    logs_folder: Path | None = Field(None, description="Folder of the service's own logs")
    database_url: SecretStr | None = Field(
        None, description="Database, such as postgresql+psycopg://eemt@db/eemt; without one, SQLite in folder"
    )
    secret_key: SecretStr | None = Field(
        None, min_length=32, description="Key that cookies are signed with; without one, it is made and kept in folder"
    )

    # how jobs run
    profile: str = Field("local", description="Snakemake profile that jobs run with: a name, or the path of a folder")
    workflow: Path | None = Field(None, description="Snakefile; without one, that which came with eemt")
    image: str | None = Field(
        None, description="Container image of jobs where the profile uses one; without it, that of the config's default"
    )
    running: int = Field(1, ge=1, le=1000, description="Jobs that run at the same time; others wait")
    queued: int = Field(1000, ge=1, description="Jobs that may wait; more are refused")
    queued_of_user: int = Field(200, ge=1, description="Jobs of one user that may wait")
    stall_hours: float = Field(6.0, gt=0, description="Time without a sign of life after which a job is ended as hung")
    longest_hours: float = Field(168.0, gt=0, description="Time after which a running job is ended")
    grace_seconds: float = Field(
        60.0,
        ge=0,
        description="Time that a job has to end in, and to cancel what it has on a cluster, before it is killed",
    )
    at_stop: Literal["leave", "end"] = Field(
        "leave", description="Whether running jobs go on when the service stops (it takes them up again), or end"
    )

    # what comes in
    upload_bytes: int = Field(20 * GIGABYTE, ge=1, description="Largest upload [bytes]")
    request_bytes: int = Field(2_000_000, ge=1000, description="Largest request but for pieces of uploads [bytes]")
    chunk_bytes: int = Field(16_000_000, ge=1000, description="Largest piece of an upload [bytes]")
    upload_cells: int = Field(400_000_000, ge=1, description="Most cells of an elevation model")
    source_hosts: tuple[str, ...] = Field((), description="Hosts that elevation may be fetched from by address")
    requests_a_minute: int = Field(1200, ge=1, description="Requests of one user or address a minute")
    request_seconds: float = Field(30.0, gt=0, description="Time in which a request arrives, but for pieces of uploads")
    chunk_seconds: float = Field(900.0, gt=0, description="Time in which a piece of an upload arrives")
    connections: int = Field(2000, ge=10, description="Connections at the same time; more are refused")
    streams_of_user: int = Field(100, ge=1, description="Streams of events of one user or address at the same time")
    logins_a_quarter: int = Field(10, ge=1, description="Failed logins for a name or from an address in 15 minutes")
    session_hours: float = Field(12.0, gt=0, description="How long a sign-in lasts")
    token_days: float = Field(90.0, gt=0, description="How long an API token lasts, where none is said; at most, too")

    # what is archived
    archive: Path | None = Field(
        None, description="Config file whose section `archive` says where results are archived; without one, none are"
    )
    archiving: int = Field(1, ge=1, le=100, description="Jobs that are archived or brought back at the same time")

    # what is kept
    quota_bytes: int = Field(100 * GIGABYTE, ge=0, description="Disk that one user may fill; users can have their own")
    least_free_bytes: int = Field(5 * GIGABYTE, ge=0, description="Free disk below which no job and no upload begins")
    keep_completed_hours: float = Field(168.0, gt=0, description="How long results of completed jobs are kept")
    keep_completed_then: Literal["delete", "archive"] = Field(
        "delete",
        description="What becomes of these results then; with archive they are removed only when they are archived, "
        "and stay where that fails",
    )
    keep_failed_hours: float = Field(12.0, gt=0, description="How long work of failed and cancelled jobs is kept")
    keep_uploads_hours: float = Field(168.0, gt=0, description="How long uploads are kept that no job names")
    keep_audit_days: float = Field(90.0, gt=0, description="How long the audit trail is kept")
    keep_logs_days: int = Field(30, ge=1, description="How many days of the service's own logs are kept")
    cleanup_hours: float = Field(1.0, ge=0, description="Time between cleanups; 0 makes none but those asked for")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - named by the library
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - named by the library
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take values from arguments, the environment, files of secrets and the settings file, in this order."""
        sources = [init_settings, env_settings]
        if folder := os.environ.get(PREFIX + "SECRETS"):
            sources.append(SecretsSettingsSource(settings_cls, secrets_dir=folder, env_prefix=""))
        if path := os.environ.get(PREFIX + "FILE"):
            sources.append(YamlConfigSettingsSource(settings_cls, yaml_file=path))
        return tuple(sources)

    @field_validator("metrics_from")
    @classmethod
    def _networks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            ipaddress.ip_network(name)
        return names

    @model_validator(mode="after")
    def _with_accounts_where_others_are(self) -> Settings:
        if self.accounts is False and not self.is_local:
            where = self.host if not _is_this_machine(self.host) else (self.public_url or self.trusted_hosts[0])
            raise ValueError(f"accounts: {where} can be reached from other machines, which needs accounts")
        return self

    @model_validator(mode="after")
    def _with_an_archive_where_it_is_to_be_used(self) -> Settings:
        if self.keep_completed_then == "archive" and self.archive is None:
            raise ValueError(f"keep_completed_then: archive needs an archive; name its config file in {PREFIX}ARCHIVE")
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine's own users reach the service, by its own names and through no proxy."""
        public = [urlsplit(self.public_url).hostname or ""] if self.public_url else []
        return all(_is_this_machine(name) for name in (self.host, *public, *self.trusted_hosts))

    @property
    def with_accounts(self) -> bool:
        """Whether users sign in."""
        return not self.is_local if self.accounts is None else self.accounts

    @property
    def uploads(self) -> Path:
        """Folder of uploads."""
        return self.uploads_folder or self.folder / "uploads"

    @property
    def jobs(self) -> Path:
        """Folder of jobs."""
        return self.jobs_folder or self.folder / "jobs"

    @property
    def cache(self) -> Path:
        """Folder of what is fetched once for all jobs."""
        return self.cache_folder or self.folder / "cache"

    @property
    def logs(self) -> Path:
        """Folder of the service's own logs."""
        return self.logs_folder or self.folder / "logs"

    @property
    def database(self) -> str:
        """Address of the database, with its password."""
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.folder.absolute() / 'service.sqlite'}"

    @cached_property
    def key(self) -> bytes:
        """Key that cookies are signed with."""
        if self.secret_key:
            return self.secret_key.get_secret_value().encode()
        path = self.folder / "secret.key"
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_bytes()
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode())
        return path.read_bytes()

    def make_folders(self) -> None:
        """Make the folders, for this user alone."""
        for path in (self.folder, self.uploads, self.jobs, self.cache, self.logs):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def load_settings(**given: object) -> Settings:
    """Read the settings; those given, and not None, come before environment and files.

    Raises
    ------
    InputError
        One line that names the setting and never the value of a secret.
    """
    path = os.environ.get(PREFIX + "FILE")
    if path and not Path(path).is_file():
        raise InputError(f"settings: {PREFIX}FILE names {path}, which is no file")
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        reason = problem["msg"].removeprefix("Value error, ").removeprefix("Input should ")
        raise InputError(f"settings: {f'{where}: ' if where else ''}{reason}") from None
