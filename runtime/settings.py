"""All settings in one flat namespace: flags over environment over one TOML file.

A `Settings` is each room's config, so it is handed to a room as it stands. Every problem
with a value is one sentence that names where the value came from; secrets are never in it.
"""

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import orjson
from pydantic import BaseModel, JsonValue, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)
from typing_extensions import override

from dashboard.activity_config import ActivityConfig
from dashboard.config import DashboardConfig
from gateway.config import GatewayConfig
from runtime.config import RuntimeConfig
from storage.config import StorageConfig
from workers.config import WorkerConfig
from workers.models.config import ModelConfig

PREFIX = "CONTEXTD_"
FILE_DEFAULT = Path("contextd.toml")
ROOMS: tuple[tuple[str, type[BaseModel]], ...] = (
    ("runtime", RuntimeConfig),
    ("gateway", GatewayConfig),
    ("activity", ActivityConfig),
    ("model server", ModelConfig),
    ("workers", WorkerConfig),
    ("storage", StorageConfig),
    ("dashboard", DashboardConfig),
)
NOT_SETTINGS = frozenset(
    {"API_KEY", "CONFIG", "GO_FD", "LISTEN_FD", "READY_FD", "SUPERVISOR_PID", "URL"}
)
"""Variables with our prefix that are no settings: the file's name, what a supervisor
tells its children, and the address and the key that `contextd chat` uses."""


class BadSettings(Exception):
    """Settings that cannot be used; `problems` holds one sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(  # pyright: ignore[reportIncompatibleVariableOverride]
    # pydantic-settings widens the type of `model_config`; its values are merged as meant.
    RuntimeConfig,
    GatewayConfig,
    ActivityConfig,
    WorkerConfig,
    ModelConfig,
    StorageConfig,
    DashboardConfig,
    BaseSettings,
):
    """Every setting of every room."""

    model_config = SettingsConfigDict(
        frozen=True,
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="forbid",
        protected_namespaces=(),
    )

    @model_validator(mode="after")
    def _workers_live_between_their_signs(self) -> Self:
        if self.worker_heartbeat_s * 1_000 >= self.worker_session_ms:
            raise ValueError(
                f"worker_heartbeat_s ({self.worker_heartbeat_s:g} s) must be less than "
                f"worker_session_ms ({self.worker_session_ms} ms), best a quarter of it: a "
                "living worker would be taken for dead between two signs"
            )
        return self

    @model_validator(mode="after")
    def _turns_are_handed_over_in_time(self) -> Self:
        if self.drain_s > self.drain_s_max:
            raise ValueError(
                f"drain_s ({self.drain_s:g}) must not be more than drain_s_max "
                f"({self.drain_s_max:g}): a worker would be killed while it still waits for "
                "its turns"
            )
        return self


def load_settings(
    flags: Mapping[str, object] | None = None, *, file: Path | None = None
) -> Settings:
    """Settings from flags, then environment, then the file.

    Args:
        flags: Values from the command line; None means that the flag was not given.
        file: The TOML file; None takes CONTEXTD_CONFIG, else ./contextd.toml if there.

    Raises:
        BadSettings: A value is wrong, a key unknown, or the file cannot be read.
    """
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    path = _file_to_read(file)
    in_file = _read_file(path) if path is not None else {}

    class Loaded(Settings):
        """The settings with the file as their last source."""

        @classmethod
        @override
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, InitSettingsSource(settings_cls, dict(in_file))

    try:
        # Values of many types, checked by the model itself.
        loose: dict[str, Any] = given
        return Loaded(**loose)
    except ValidationError as error:
        details = error.errors(include_url=False)
        sources = _Sources(given, in_file, path)
        raise BadSettings(tuple(_sentence(d, sources) for d in details)) from None
    except SettingsError as error:
        raise BadSettings((f"The environment cannot be read: {error}.",)) from None


def unknown_variables() -> tuple[str, ...]:
    """A sentence for each variable with our prefix that no setting reads.

    They are warnings, not errors: Kubernetes itself sets CONTEXTD_SERVICE_HOST and the
    like where a service is called contextd.
    """
    names = {name.removeprefix(PREFIX) for name in os.environ if name.startswith(PREFIX)}
    unknown = sorted(names - {n.upper() for n in Settings.model_fields} - NOT_SETTINGS)
    return tuple(
        f"{PREFIX}{name} is not a setting{_nearest(name.lower(), PREFIX)}." for name in unknown
    )


def with_models(settings: Settings) -> Settings:
    """The settings, with the names of the models that the workers have, as far as they say."""
    if settings.openai_models:
        return settings
    default = "scripted" if settings.model_base_url is None else settings.model or ""
    return settings.model_copy(update={"openai_models": default})


def source_of(name: str, settings: Settings, file: Path | None) -> str:
    """Where the value of the setting came from, in the words of the user."""
    if name not in settings.model_fields_set:
        return "default"
    if os.environ.get(PREFIX + name.upper()):
        return PREFIX + name.upper()
    return str(_file_to_read(file) or "flag")


def as_environment(settings: Settings) -> dict[str, str]:
    """Variables that give a child process the same settings, secrets included."""
    environment = {PREFIX + "CONFIG": ""}
    for name in settings.model_fields_set:
        value: object = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        text = (
            str(value)
            if isinstance(value, str | int | float | Path)
            else orjson.dumps(settings.model_dump(mode="json", include={name})[name]).decode()
        )
        environment[PREFIX + name.upper()] = text
    return environment


def _file_to_read(file: Path | None) -> Path | None:
    if file is not None:
        return file
    named = os.environ.get(PREFIX + "CONFIG")
    if named is not None:
        return Path(named) if named else None
    return FILE_DEFAULT if FILE_DEFAULT.exists() else None


def _read_file(path: Path) -> dict[str, JsonValue]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadSettings((f"The settings file {path} cannot be read: {reason}.",)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings((f"The settings file {path} is not TOML: {error}.",)) from None
    unknown = [name for name in values if name not in Settings.model_fields]
    if unknown:
        raise BadSettings(
            tuple(f"{path}: `{name}` is not a setting{_nearest(name)}." for name in unknown)
        )
    return values


def _nearest(name: str, prefix: str = "") -> str:
    near = difflib.get_close_matches(name.lower(), Settings.model_fields, n=1, cutoff=0.5)
    if not near:
        return "; `contextd settings` lists all"
    return (
        f"; did you mean {prefix}{near[0].upper()}" if prefix else f"; did you mean `{near[0]}`"
    )


@dataclass(frozen=True, slots=True)
class _Sources:
    """What was given where: flags, then variables, then the file."""

    flags: Mapping[str, object]
    in_file: Mapping[str, JsonValue]
    file: Path | None

    def of(self, name: str) -> str | None:
        """Where the value of a setting comes from; None: nobody has given one."""
        if name in self.flags:
            return f"--{name.replace('_', '-')}"
        if os.environ.get(PREFIX + name.upper()):  # an empty one is as good as none
            return PREFIX + name.upper()
        return f"`{name}` in {self.file}" if name in self.in_file else None

    def named_in(self, sentence: str) -> str:
        """Where the settings that a sentence is about were given, in brackets."""
        # Names of one word are words of other sentences as well, but for what begins one.
        words = set(re.findall(r"[a-z]+_[a-z_]+|^[a-z]+(?=:)", sentence))
        found = [self.of(name) for name in Settings.model_fields if name in words]
        given = ", ".join(source for source in found if source is not None)
        return f" ({given})" if given else ""


def _sentence(details: ErrorDetails, sources: _Sources) -> str:
    if not details["loc"]:
        # Of values that do not go together.
        sentence = details["msg"].removeprefix("Value error, ")
        return f"{sentence}{sources.named_in(sentence)}."
    where = ".".join(str(part) for part in details["loc"])
    name = str(details["loc"][0])
    if name not in Settings.model_fields:
        return f"`{where}` is not a setting{_nearest(name)}."
    source = sources.of(name) or f"`{name}`"
    reason = details["msg"][:1].lower() + details["msg"][1:]
    annotation = str(Settings.model_fields[name].annotation)
    is_secret = "SecretStr" in annotation or "://" in str(details["input"])
    shown = "" if is_secret else f" (it is {details['input']!r})"
    hint = ""
    if str(details["input"]).startswith("tcp://"):
        hint = (
            ". Kubernetes set this for a service called contextd; switch it off with "
            "enableServiceLinks: false"
        )
    return f"{source}: {reason}{shown}{hint}."
