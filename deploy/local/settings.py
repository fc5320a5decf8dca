"""The variables of both local stacks (api.md, Local stack): every process's settings, and what only a stack needs."""

from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from deploy.local.errors import StackError
from shared import city, regions
from shared.settings import Settings

DEFAULT_PORT = 8000
DEFAULT_KAFKA_PORT = 9092


class LocalSettings(Settings):
    """What a person may say about a local stack; everything has a default."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    @classmethod
    def from_environment(cls) -> Self:
        """Read the variables; raises StackError naming each variable that does not fit."""
        try:
            settings = cls()
        except ValidationError as invalid:
            lines = []
            for error in invalid.errors():
                field = str(error["loc"][0]) if error["loc"] else ""
                name = field if field.isupper() else f"SUSHU_{field.upper()}"
                lines.append(f"{name}={error['input']!r}: {error['msg']}." if field else f"{error['msg']}.")
            raise StackError("\n".join([*lines, "Correct the variable or unset it to get the default."])) from None
        if settings.env != "local":
            raise StackError("SUSHU_ENV=production is for the deployment in deploy/k8s; a local stack runs without it.")
        found: dict[str, Any] = {
            "data_dir": settings.data_dir.expanduser().resolve(),
            "base_url": settings.base_url or settings.local_url,
        }
        if settings.platforms:  # the processes of the stack have another working directory
            found["platforms"] = str(Path(settings.platforms).expanduser().resolve())
        if settings.key_dir is not None:
            found["key_dir"] = settings.key_dir.expanduser().resolve()
        return settings.model_copy(update=found)

    def require_city(self) -> None:
        """Before anything is made: the city folder can be read and the platform is a division; raises StackError."""
        try:
            city.load(self.city)
        except city.CityError as error:
            raise StackError(str(error)) from None
        if regions.load().get(self.platform) is None:
            raise StackError(
                f"SUSHU_PLATFORM={self.platform} is no division of China. Set it to a city's code, such as 460100\n"
                "(the four municipalities: 110000, 120000, 310000 and 500000)."
            )

    @property
    def local_url(self) -> str:
        """Where the stack is reached from this machine."""
        return f"http://{self.local_host}:{self.port}"

    @property
    def local_host(self) -> str:
        """Address for a client on this machine, in URL form."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)  # noqa: S104 - compared, not bound
        return f"[{host}]" if ":" in host else host

    @property
    def broker_port(self) -> int:
        """Client port of the local Kafka: 9092 beside port 8000, else the next port after the base URL's."""
        if self.kafka_port:
            return self.kafka_port
        return DEFAULT_KAFKA_PORT if self.port == DEFAULT_PORT else self.port + 1

    @property
    def controller_port(self) -> int:
        """KRaft controller port of the local Kafka."""
        return self.port + 2
