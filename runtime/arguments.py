"""What several commands share: arguments, and what each does with them first.

Imports nothing that is slow, as all that `--help` loads.
"""

from collections.abc import Coroutine, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Never, TypeVar

import typer

if TYPE_CHECKING:
    from runtime.settings import Settings

T = TypeVar("T")

Url = Annotated[str, typer.Option(envvar="CONTEXTD_URL", help="Where contextd answers.")]
HERE = "http://127.0.0.1:8000"
KeyFile = Annotated[
    Path | None,
    typer.Option(
        help="File with the API key; else CONTEXTD_API_KEY, or the data folder's owner.key.",
        metavar="FILE",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class LogLevel(StrEnum):
    """Least severe log line that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


Config = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Settings file (TOML); else ./contextd.toml.", metavar="FILE"
    ),
]
Port = Annotated[int | None, typer.Option(help="Port of the API (8000); 0 takes a free one.")]
Host = Annotated[str | None, typer.Option(help="Address to listen on (127.0.0.1).")]


def _folder(name: str) -> Path:
    if not name:
        raise typer.BadParameter("it is empty; `.` is the current folder.")
    return Path(name)


Data = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the embedded store (./contextd-data).", parser=_folder, metavar="PATH"
    ),
]
Level = Annotated[LogLevel | None, typer.Option(help="Least severe log line.")]


def key_or_fail(url: str, key_file: Path | None) -> str | None:
    """The key to send to a server; None: none is known."""
    from runtime.key_file import NoKey, key_for

    try:
        return key_for(url, key_file)
    except NoKey as error:
        fail(str(error), 2)


def settings_or_fail(flags: Mapping[str, object]) -> "Settings":
    """The settings in force, with these flags; `config` names the file."""
    from runtime.settings import BadSettings, load_settings

    given = dict(flags)
    file = given.pop("config", None)
    try:
        return load_settings(given, file=file if isinstance(file, Path) else None)
    except BadSettings as error:
        for problem in error.problems:
            typer.echo(f"contextd: {problem}", err=True)
        raise typer.Exit(2) from None


def store_or_fail(settings: "Settings") -> str:
    """Url of the store: the configured one, or that of a running `up`."""
    from runtime.role import store_url

    url = store_url(settings)
    if url is None:
        fail(
            "There is no store: CONTEXTD_REDIS_URL is not set, and no `contextd up` runs in "
            f"{settings.data}. `contextd up` runs everything.",
            2,
        )
    return url


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run what a command does on an event loop of its own."""
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def fail(sentence: str, code: int) -> Never:
    """End the command with a sentence that says what to do."""
    typer.echo(f"contextd: {sentence}", err=True)
    raise typer.Exit(code)
