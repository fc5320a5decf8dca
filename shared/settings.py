"""The one settings class: every process reads the same few variables (api.md, "Local stack")."""

from ipaddress import ip_network
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment; names are `SUSHU_<FIELD>` unless an alias is given."""

    model_config = SettingsConfigDict(env_prefix="SUSHU_", extra="ignore", populate_by_name=True)

    env: Literal["local", "production"] = "local"
    """`production` refuses local tokens, the turned clock and one shared database role"""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65533)
    base_url: str = ""
    """how the outside calls us; default `http://<host>:<port>`"""
    data_dir: Path = Path(".sushu")
    admin_token: str = Field(default="", repr=False)
    """opaque token with role admin; empty: `<data dir>/admin.token` is used when it is there"""
    city: str = "demo"
    platform: str = Field(default="460100", pattern=r"^\d{6}$")
    platforms: str = ""
    """path of the platform directory (YAML); empty: this platform alone"""
    demo_stream: Literal["on", "off"] = "on"
    sim_clock: bool = False
    sim_start: AwareDatetime | None = None
    """where the turned clock of a new data folder begins (RFC 3339); default: now"""
    public_rate: int = Field(default=60, ge=0)
    """requests a minute and address on tokenless routes; 0 = off"""
    kafka_port: int = 0
    database_url: str = Field(default="", alias="DATABASE_URL", repr=False)
    kafka_bootstrap_servers: str = Field(default="", alias="KAFKA_BOOTSTRAP_SERVERS")
    """empty: the embedded log in PostgreSQL is the bus"""
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_username: str = ""
    kafka_password: str = Field(default="", repr=False)
    kafka_ca_file: Path | None = None
    """certificate authority of the brokers; default: the system's"""
    service_host: str = "127.0.0.1"
    service_port: int = 8080
    """where one service's own process listens (behind the gateway)"""
    jwks_url: str = ""
    """production: the outside issuer's key set"""
    jwt_issuer: str = ""
    jwt_audience: str = "sushu"
    key_dir: Path | None = None
    """folder of the platform's keys; default `<data dir>/keys`"""
    llm_key: str = Field(default="", repr=False)
    """bearer token of the language model named in the city's profile (section `classify`, `llm`)"""
    files: str = ""
    """where attachments lie: a folder that all replicas of intake share, or `s3://<bucket>/<prefix>`; default
    `<data dir>/attachments`, in production none"""
    s3_endpoint: str = ""
    """of a store of your own that speaks S3; default: that of the region"""
    s3_region: str = "us-east-1"
    s3_access_key: str = ""
    s3_secret_key: str = Field(default="", repr=False)
    webhook_networks: str = ""
    """networks in CIDR notation, separated by commas, that webhooks may lie in beside the public internet"""
    journal_url: str = ""
    """where evaluate reads the journal's event feed to publish a month; default: the base URL"""
    journal_token: str = Field(default="", repr=False)
    """production: bearer token of a reader of the feed (role auditor); local stacks make their own"""
    log_level: str = "INFO"
    pool_size: int = Field(default=5, ge=1)
    """database connections of one service"""

    @model_validator(mode="after")
    def _production_is_strict(self) -> "Settings":
        if self.env == "production":
            if self.sim_clock:
                raise ValueError("SUSHU_SIM_CLOCK is for local stacks: unset it in production")
            if not self.jwks_url:
                raise ValueError("production needs SUSHU_JWKS_URL, the key set of your token issuer")
            if not self.jwt_issuer:
                raise ValueError("production needs SUSHU_JWT_ISSUER, the `iss` of your token issuer")
        return self

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, listed: str) -> str:
        for part in filter(None, map(str.strip, listed.split(","))):
            ip_network(part)  # raises ValueError, which says what is wrong with it
        return listed

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        return (self.base_url or f"http://{self.host}:{self.port}").rstrip("/")

    @property
    def keys(self) -> Path:
        """Folder of the platform's keys."""
        return self.key_dir or self.data_dir / "keys"

    @property
    def transport(self) -> Literal["embedded", "kafka"]:
        """Which bus carries the events."""
        return "kafka" if self.kafka_bootstrap_servers else "embedded"
