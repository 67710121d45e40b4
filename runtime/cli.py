"""The command `contextd`.

Nothing but typer is imported up here: help and completion answer at once, and each
command loads what it needs. Exit codes: 0 done, 1 failed, 2 wrong use or settings.
The commands that ask a running service are in `runtime/ops.py`.
"""

import os
import sys
import time
from collections.abc import Coroutine, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from runtime.arguments import HERE, KeyFile, Url, fail, key_or_fail
from runtime.ops import ops_app
from runtime.streams import open_standard_streams, output_that_may_fail

if TYPE_CHECKING:
    from runtime.settings import Settings
    from runtime.supervisor import Role

_STARTED_S = time.monotonic()
_LABEL_CHARACTERS_MAX = 200
_KEY_DAYS_MAX = 36_500
T = TypeVar("T")

_EXAMPLES = """\
AI chat contexts that live on the server: send actions, read state.

[bold]First steps[/bold]

    contextd up             everything on this machine, no account needed
    contextd chat           talk to it, in another terminal
    contextd doctor         what is wrong, and what to do

[bold]With a real model[/bold] (any OpenAI-compatible server)

    export CONTEXTD_MODEL_BASE_URL=... CONTEXTD_MODEL_API_KEY=...
    CONTEXTD_MODEL=some-model contextd up

[bold]More processes[/bold]

    contextd up --gateways 2 --workers 3
    contextd worker         one more, on the store of a running `up`

Every flag is also a variable (CONTEXTD_PORT for --port) and a key of
contextd.toml; `contextd settings` lists them all.
"""

app = typer.Typer(
    name="contextd",
    help=_EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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
Gateways = Annotated[int | None, typer.Option(help="Gateway processes (1).")]
Workers = Annotated[int | None, typer.Option(help="Worker processes (1).")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from runtime.version import own_version

        typer.echo(f"contextd {own_version()}")
        raise typer.Exit


@app.callback()
def contextd(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Never shown: the help of the application stands above."""


@app.command()
def up(
    config: Config = None,
    port: Port = None,
    host: Host = None,
    data: Data = None,
    gateways: Gateways = None,
    workers: Workers = None,
    log_level: Level = None,
) -> None:
    """Run everything on this machine: store, gateways, workers.

    Keeps contexts in the data folder, on a store of its own; where
    CONTEXTD_REDIS_URL is set, on that one instead. What dies is started
    again. Ctrl-C drains and stops; contexts go on at the next `up`.

        contextd up --port 9000 --data /var/lib/contextd --workers 2
    """
    settings = _settings(locals())
    raise typer.Exit(_supervise(settings))


@app.command()
def supervise(
    config: Config = None,
    port: Port = None,
    host: Host = None,
    gateways: Gateways = None,
    workers: Workers = None,
    log_level: Level = None,
) -> None:
    """Run gateways and workers on the store of CONTEXTD_REDIS_URL.

    CONTEXTD_REDIS_URL=redis://store:6379/0 contextd supervise --workers 4
    """
    settings = _settings(locals())
    if settings.redis_url is None:
        fail("CONTEXTD_REDIS_URL is not set; `contextd up` runs a store of its own.", 2)
    raise typer.Exit(_supervise(settings))


@app.command()
def gateway(
    config: Config = None,
    port: Port = None,
    host: Host = None,
    data: Data = None,
    log_level: Level = None,
) -> None:
    """Run one gateway (HTTP) on an existing store.

    The store is the one of CONTEXTD_REDIS_URL, else the embedded one of a
    running `up` in the data folder. Gateways on one port share it.

        contextd gateway --port 8001
    """
    _run_role("gateway", _settings(locals()))


@app.command()
def worker(config: Config = None, data: Data = None, log_level: Level = None) -> None:
    """Run one worker (contexts, model calls, tools) on an existing store.

    The store is the one of CONTEXTD_REDIS_URL, else the embedded one of a
    running `up` in the data folder.

        contextd worker
    """
    _run_role("worker", _settings(locals()))


@app.command()
def chat(
    url: Url = HERE,
    context: Annotated[
        str | None, typer.Option(help="Go on with this context.", metavar="ID")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest one.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Send standard input, print the reply, end.")
    ] = False,
    key_file: KeyFile = None,
) -> None:
    """Talk to contextd in the terminal.

    Replies stream; tool calls are shown and asked about. Ctrl-C while a
    reply streams leaves it running on the server, and
    `contextd chat --context ID` shows the rest of it.

        contextd chat --resume
        echo "What is 17 * 23?" | contextd chat --once
    """
    from runtime.chat import ChatOptions, run_chat

    options = ChatOptions(
        url=url, context_id=context, resume=resume, once=once, key_file=key_file
    )
    raise typer.Exit(run_chat(options))


@app.command()
def doctor(
    config: Config = None,
    port: Port = None,
    host: Host = None,
    data: Data = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check what contextd needs, and say what to do about what is missing.

    Looks at Python, the store and its durability, the data folder, the port,
    the model server and the MCP servers. Ends with 1 if anything fails.

        contextd doctor --json
    """
    flags = {"config": config, "port": port, "host": host, "data": data}
    settings = _settings(flags)
    from runtime.doctor import examine, report
    from runtime.logs import configure_logs

    configure_logs("critical")
    checks = _run(examine(settings))
    raise typer.Exit(report(checks, as_json=as_json))


@app.command("import")
def import_history(
    file: Annotated[
        Path | None, typer.Argument(help="JSON of a browser, or a SQLite database.")
    ] = None,
    url: Url = HERE,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only check, and say what is there.")
    ] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Delete what --report says was imported.")
    ] = False,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Leave out conversations with problems.")
    ] = False,
    report: Annotated[
        Path, typer.Option(help="What was imported: to go on, and to undo.", metavar="FILE")
    ] = Path("contextd-import.json"),
    key_file: KeyFile = None,
) -> None:
    """Import conversations that a browser or a database has kept.

    Takes JSON (a list of conversations with `messages`, or a dump of
    localStorage) and SQLite (a table of messages with a role, a text and the
    id of their conversation). Each becomes a context, whole or not at all.

        contextd import history.json --dry-run
        contextd import chats.sqlite --report chats.json
        contextd import --undo --report chats.json
    """
    from runtime.importing import ImportOptions, check_history, run_import, undo_import

    options = ImportOptions(url, key_or_fail(url, key_file), report, skip_broken)
    if undo:
        raise typer.Exit(undo_import(options))
    if file is None:
        fail("Name the file to import, or --undo.", 2)
    raise typer.Exit(check_history(file) if dry_run else run_import(file, options))


@app.command()
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
    in_force = _settings({"config": config, "data": data})
    if days is not None and not dry_run:
        fail("--days goes with --dry-run; CONTEXTD_RETENTION_DAYS decides for real.", 2)
    if not in_force.retention_days and days is None:
        fail("CONTEXTD_RETENTION_DAYS is 0: nothing is ever deleted for its age.", 2)
    from runtime.logs import configure_logs
    from runtime.retention import run_retention, show_plan

    configure_logs(in_force.log_level or "warning")
    url = _store_of(in_force)
    if dry_run:
        raise typer.Exit(_run(show_plan(in_force, url, days=days, limit=limit)))
    raise typer.Exit(_run(run_retention(in_force, url)))


@app.command()
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
    in_force = _settings({"config": config, "data": data})
    from runtime.audit import check_records, show_records
    from runtime.logs import configure_logs

    configure_logs(in_force.log_level or "warning")
    url = _store_of(in_force)
    if check:
        raise typer.Exit(_run(check_records(in_force, url)))
    raise typer.Exit(
        _run(show_records(in_force, url, after=after, limit=limit, as_json=as_json))
    )


@app.command()
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
    in_force = _settings({"config": config, "data": data})
    from runtime.backup import run_backup
    from runtime.logs import configure_logs

    configure_logs(in_force.log_level or "error")
    _end_as_by_ctrl_c()
    raise typer.Exit(_run(run_backup(in_force, _store_of(in_force), file)))


@app.command()
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
    in_force = _settings({"config": config, "data": data})
    from runtime.backup import run_restore
    from runtime.logs import configure_logs

    configure_logs(in_force.log_level or "error")
    _end_as_by_ctrl_c()
    raise typer.Exit(_run(run_restore(in_force, file, force=force)))


app.add_typer(ops_app)

keys_app = typer.Typer(no_args_is_help=True, help="API keys: make, list and revoke them.")
app.add_typer(keys_app, name="keys")


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
    in_force = _settings({"config": config, "data": data})
    from runtime import access
    from runtime.logs import configure_logs

    configure_logs(in_force.log_level or "warning")
    work = access.create_key(
        in_force,
        _store_of(in_force),
        name=name,
        owner=owner,
        scopes=[one.value for one in scope] if scope else access.DEFAULT_SCOPES,
        days=days,
        file=file,
    )
    raise typer.Exit(_run(work))


@keys_app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """List all keys that there are or were; the keys themselves nobody can read again."""
    in_force = _settings({"config": config, "data": data})
    from runtime import access
    from runtime.logs import configure_logs

    configure_logs(in_force.log_level or "warning")
    raise typer.Exit(_run(access.list_keys(in_force, _store_of(in_force), as_json=as_json)))


@keys_app.command("revoke")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="Its id, from `contextd keys list`.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Have a key open nothing any more; streams that it has opened end within a minute."""
    in_force = _settings({"config": config, "data": data})
    from runtime import access
    from runtime.logs import configure_logs

    configure_logs(in_force.log_level or "warning")
    raise typer.Exit(_run(access.revoke_key(in_force, _store_of(in_force), key_id)))


@app.command()
def verify(
    config: Config = None,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, help="How long; the parts share it. Without --short: 3."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of all that is random; a new one each time.")
    ] = None,
    short: Annotated[
        bool, typer.Option("--short", help="By counts, as in CI; within --minutes, if given.")
    ] = False,
    only: Annotated[
        str, typer.Option(help="Some of the parts.", metavar="PART,...")
    ] = "crash-points,histories,kills,chaos,measures",
    replay: Annotated[
        str | None,
        typer.Option(help="Run one finding again, as it names itself.", metavar="WHICH"),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the report (Markdown).", metavar="FILE")
    ] = None,
    matrix: Annotated[
        Path | None,
        typer.Option(help="Write what came of each crash point.", metavar="FILE"),
    ] = None,
) -> None:
    """Prove on this machine that contextd survives what it promises to.

    Kills, pauses and cuts a contextd of its own, in simulation and for real,
    while clients record what they see; then judges their records. Touches
    nothing else. Ends with 1 if anything was lost, doubled or stuck.

        contextd verify --minutes 3 --report report.md
    """
    in_force = _settings({"config": config})
    from runtime.store_binary import NoStoreBinary, find_store_binary
    from runtime.version import own_version
    from verify.command import VerifyOptions, verify as run_verify
    from verify.plan import PARTS

    wanted = only.split(",")
    if unknown := [name for name in wanted if name not in PARTS]:
        fail(f"There is no part {', '.join(unknown)}; there are {', '.join(PARTS)}.", 2)
    try:
        binary = find_store_binary(in_force.store_binary)
    except NoStoreBinary as error:
        fail(str(error), 1)
    options = VerifyOptions(
        binary.path,
        minutes=minutes,
        seed=seed,
        short=short,
        only=tuple(part for part in PARTS if part in wanted),
        replay=replay,
        report=report,
        matrix=matrix,
        processes=os.cpu_count() or 1,
        version=own_version(),
        server=f"{binary.product} {binary.version}",
    )
    try:
        code = run_verify(options)
    except ValueError as error:
        fail(str(error), 2)
    raise typer.Exit(code)


@app.command()
def settings(
    config: Config = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print docs/settings.md.")
    ] = False,
    toml: Annotated[bool, typer.Option("--toml", help="Print an example file.")] = False,
) -> None:
    """Show every setting, its value and where that comes from.

    contextd settings --toml > contextd.toml
    """
    from runtime import settings_docs

    if markdown or toml:
        typer.echo(settings_docs.markdown() if markdown else settings_docs.toml(), nl=False)
        return
    in_force = _settings({"config": config})
    settings_docs.print_in_force(in_force, config)


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    open_standard_streams()
    from runtime.tether import tie_to_supervisor

    tie_to_supervisor()
    with output_that_may_fail():
        app()


def _settings(flags: Mapping[str, object]) -> "Settings":
    from runtime.settings import BadSettings, load_settings

    given = dict(flags)
    file = given.pop("config", None)
    try:
        return load_settings(given, file=file if isinstance(file, Path) else None)
    except BadSettings as error:
        for problem in error.problems:
            typer.echo(f"contextd: {problem}", err=True)
        raise typer.Exit(2) from None


def _supervise(settings: "Settings") -> int:
    from runtime.embedded import StoreFailed
    from runtime.logs import configure_logs
    from runtime.port import PortTaken
    from runtime.settings import unknown_variables
    from runtime.store_address import BadDataFolder
    from runtime.store_binary import NoStoreBinary
    from runtime.up import supervise as run

    if settings.log_level is None and sys.stderr.isatty():
        # A person reads this: the banner tells what the info lines would.
        settings = settings.model_copy(update={"log_level": "warning"})
    configure_logs(settings.log_level or "info")
    for sentence in unknown_variables():
        typer.echo(f"contextd: {sentence}", err=True)
    if settings.workers:
        _check_servers(settings)
    if settings.gateways:
        _check_certificate(settings)
        _check_activity(settings)
    try:
        return _run(run(settings, started_s=_STARTED_S))
    except (PortTaken, BadDataFolder, NoStoreBinary, StoreFailed) as error:
        fail(str(error), 1)


def _run_role(role: "Role", settings: "Settings") -> None:
    from runtime.logs import configure_logs
    from runtime.role import run_role, wait_for_go

    configure_logs(settings.log_level or "info")
    if role == "worker":
        _check_servers(settings)
    else:
        _check_certificate(settings)
        _check_activity(settings)
    if not wait_for_go(role):
        raise typer.Exit
    raise typer.Exit(_run(run_role(role, settings, url=_store_of(settings))))


def _store_of(settings: "Settings") -> str:
    from runtime.role import store_url

    url = store_url(settings)
    if url is None:
        fail(
            "There is no store: CONTEXTD_REDIS_URL is not set, and no `contextd up` runs in "
            f"{settings.data}. `contextd up` runs everything.",
            2,
        )
    return url


def _check_servers(settings: "Settings") -> None:
    """Refuse a file of MCP servers that workers could not use."""
    if settings.mcp_servers is None:
        return
    from workers.tools.mcp_servers import BadServers, read_servers

    try:
        read_servers(settings.mcp_servers)
    except BadServers as error:
        fail(str(error), 2)


def _check_certificate(settings: "Settings") -> None:
    """Refuse a certificate that gateways could not use."""
    if settings.tls_cert is None:
        return
    from gateway import BadCertificate, tls_context

    try:
        tls_context(settings)
    except BadCertificate as error:
        fail(str(error), 2)


def _check_activity(settings: "Settings") -> None:
    """Refuse a folder that gateways could not write their records into."""
    if settings.activity_folder is None or not settings.activity:
        return
    from dashboard import BadActivityFolder, check_activity_folder

    try:
        check_activity_folder(settings.activity_folder)
    except BadActivityFolder as error:
        fail(str(error), 2)


def _end_as_by_ctrl_c() -> None:
    """Have SIGTERM end what runs as Ctrl-C does, so that what was begun is taken away."""
    import signal

    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _run(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


if __name__ == "__main__":
    main()
