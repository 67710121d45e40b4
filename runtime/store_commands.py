"""The commands that work on the store itself: they need no running gateway.

The store is the one of CONTEXTD_REDIS_URL, else the embedded one of a running `up`. Exit
codes: 0 done, 1 failed, 2 wrong use or settings.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from runtime.arguments import Config, Data, fail, run, settings_or_fail, store_or_fail

if TYPE_CHECKING:
    from runtime.settings import Settings

_LABEL_CHARACTERS_MAX = 200
_KEY_DAYS_MAX = 36_500

store_app = typer.Typer()
keys_app = typer.Typer(no_args_is_help=True, help="API keys: make, list and revoke them.")
store_app.add_typer(keys_app, name="keys")


def _settings(config: Config, data: Data) -> "Settings":
    """The settings in force. A command says itself why it fails: the log adds errors alone."""
    from runtime.logs import configure_logs

    in_force = settings_or_fail({"config": config, "data": data})
    configure_logs(in_force.log_level or "error")
    return in_force


@store_app.command()
def retention(
    config: Config = None,
    data: Data = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be deleted.")
    ] = False,
    days: Annotated[
        int | None,
        typer.Option(min=1, help="With --dry-run: as if CONTEXTD_RETENTION_DAYS were this."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many of them to show.")] = 50,
) -> None:
    """Delete old contexts now, or show which would be.

    Workers do this by themselves where CONTEXTD_RETENTION_DAYS is set. What
    is pinned, at work or waiting for something stays.

        contextd retention --dry-run --days 90
    """
    in_force = _settings(config, data)
    if days is not None and not dry_run:
        fail("--days goes with --dry-run; CONTEXTD_RETENTION_DAYS decides for real.", 2)
    if not in_force.retention_days and days is None:
        fail("CONTEXTD_RETENTION_DAYS is 0: nothing is ever deleted for its age.", 2)
    from runtime.retention import run_retention, show_plan

    url = store_or_fail(in_force)
    if dry_run:
        raise typer.Exit(run(show_plan(in_force, url, days=days, limit=limit)))
    raise typer.Exit(run(run_retention(in_force, url)))


@store_app.command()
def audit(
    config: Config = None,
    data: Data = None,
    check: Annotated[
        bool, typer.Option("--check", help="Only say whether a record was changed or is gone.")
    ] = False,
    after: Annotated[int, typer.Option(min=0, help="Only records behind this number.")] = 0,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 1_000,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one a line.")] = False,
) -> None:
    """Show who has asked for what: admin acts, keys, approvals, deletions.

    Each record holds the digest of the one before. Ends with 1 if --check
    finds one that does not follow.

        contextd audit --json --after 1200
        contextd audit --check
    """
    in_force = _settings(config, data)
    from runtime.audit import check_records, show_records

    url = store_or_fail(in_force)
    if check:
        raise typer.Exit(run(check_records(in_force, url)))
    raise typer.Exit(
        run(show_records(in_force, url, after=after, limit=limit, as_json=as_json))
    )


@store_app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="New file to write.", dir_okay=False)],
    config: Config = None,
    data: Data = None,
) -> None:
    """Write everything that the store holds into one file, while all goes on.

    It is the store as of one moment. What is encrypted stays so; the keys to
    it are not in the file.

        contextd backup /backups/monday.tar
    """
    in_force = _settings(config, data)
    from runtime.backup import run_backup

    _end_as_by_ctrl_c()
    raise typer.Exit(run(run_backup(in_force, store_or_fail(in_force), file)))


@store_app.command()
def restore(
    file: Annotated[
        Path,
        typer.Argument(
            help="A file that `contextd backup` has written.", exists=True, dir_okay=False
        ),
    ],
    force: Annotated[
        bool, typer.Option("--force", help="Also where something is: it is replaced.")
    ] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Put a backup into an empty store: the data folder, or CONTEXTD_REDIS_URL's.

    Stop contextd first. What was answered since the backup is gone, and
    clients are told so.

        contextd restore /backups/monday.tar --data /var/lib/contextd
    """
    in_force = _settings(config, data)
    from runtime.backup import run_restore

    _end_as_by_ctrl_c()
    raise typer.Exit(run(run_restore(in_force, file, force=force)))


class KeyScope(StrEnum):
    """What a key allows."""

    READ = "contexts:read"
    WRITE = "contexts:write"
    DASHBOARD = "dashboard"
    ADMIN = "admin"


def _label(text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > _LABEL_CHARACTERS_MAX:
        raise typer.BadParameter(
            f"it takes 1 to {_LABEL_CHARACTERS_MAX} characters that can be printed."
        )
    return text


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What it is for, in your words.", parser=_label)],
    owner: Annotated[
        str, typer.Option(help="Whose contexts it opens.", parser=_label, metavar="NAME")
    ] = "local",
    scope: Annotated[
        list[KeyScope] | None,
        typer.Option(help="What it allows; may be given again (reading and writing contexts)."),
    ] = None,
    days: Annotated[
        int | None,
        typer.Option(min=1, max=_KEY_DAYS_MAX, help="After so many it opens nothing any more."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="New file to write it to, instead of showing it.",
            metavar="FILE",
            dir_okay=False,
        ),
    ] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Make an API key. It is shown once; only a digest is kept.

    contextd keys create laptop
    contextd keys create dashboard --scope dashboard --days 90
    """
    if file is not None and file.exists():
        fail(
            f"{file} is there already, and may hold the only copy of a key: remove it first.", 2
        )
    in_force = _settings(config, data)
    from runtime import access

    work = access.create_key(
        in_force,
        store_or_fail(in_force),
        name=name,
        owner=owner,
        scopes=[one.value for one in scope] if scope else access.DEFAULT_SCOPES,
        days=days,
        file=file,
    )
    raise typer.Exit(run(work))


@keys_app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """List all keys that there are or were; the keys themselves nobody can read again."""
    in_force = _settings(config, data)
    from runtime import access

    raise typer.Exit(run(access.list_keys(in_force, store_or_fail(in_force), as_json=as_json)))


@keys_app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Its id, from `contextd keys list`.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Have a key open nothing any more; streams that it has opened end within a minute."""
    in_force = _settings(config, data)
    from runtime import access

    raise typer.Exit(run(access.revoke_key(in_force, store_or_fail(in_force), key_id)))


def _end_as_by_ctrl_c() -> None:
    """Have SIGTERM end what runs as Ctrl-C does: where it waits, and undoing what was begun."""
    import signal

    def interrupt(_signal: int, _frame: object) -> None:
        signal.raise_signal(signal.SIGINT)

    signal.signal(signal.SIGTERM, interrupt)
