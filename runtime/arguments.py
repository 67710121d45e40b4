"""Arguments that several commands share, and how a command ends on a wrong one."""

from pathlib import Path
from typing import Annotated, Never

import typer

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


def key_or_fail(url: str, key_file: Path | None) -> str | None:
    """The key to send to a server; None: none is known."""
    from runtime.key_file import NoKey, key_for

    try:
        return key_for(url, key_file)
    except NoKey as error:
        fail(str(error), 2)


def fail(sentence: str, code: int) -> Never:
    """End the command with a sentence that says what to do."""
    typer.echo(f"contextd: {sentence}", err=True)
    raise typer.Exit(code)
