"""The command `contextd`.

Nothing but typer is imported up here: help and completion answer at once, and each
command loads what it needs. Exit codes: 0 done, 1 failed, 2 wrong use or settings.
The commands that ask a running service are in `runtime/ops.py`, those that work on the
store itself in `runtime/store_commands.py`.
"""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from runtime.arguments import (
    HERE,
    Config,
    Data,
    Host,
    KeyFile,
    Level,
    Port,
    Url,
    fail,
    key_or_fail,
    run,
    settings_or_fail,
)
from runtime.ops import ops_app
from runtime.starting import run_all, run_one
from runtime.store_commands import store_app
from runtime.streams import open_standard_streams, output_that_may_fail

_STARTED_S = time.monotonic()

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
    settings = settings_or_fail(locals())
    raise typer.Exit(run_all(settings, started_s=_STARTED_S))


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
    settings = settings_or_fail(locals())
    if settings.redis_url is None:
        fail("CONTEXTD_REDIS_URL is not set; `contextd up` runs a store of its own.", 2)
    raise typer.Exit(run_all(settings, started_s=_STARTED_S))


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
    raise typer.Exit(run_one("gateway", settings_or_fail(locals())))


@app.command()
def worker(config: Config = None, data: Data = None, log_level: Level = None) -> None:
    """Run one worker (contexts, model calls, tools) on an existing store.

    The store is the one of CONTEXTD_REDIS_URL, else the embedded one of a
    running `up` in the data folder.

        contextd worker
    """
    raise typer.Exit(run_one("worker", settings_or_fail(locals())))


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
    settings = settings_or_fail(flags)
    from runtime.doctor import examine, report
    from runtime.logs import configure_logs

    configure_logs("critical")
    checks = run(examine(settings))
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


app.add_typer(store_app)
app.add_typer(ops_app)


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
    in_force = settings_or_fail({"config": config})
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
    in_force = settings_or_fail({"config": config})
    settings_docs.print_in_force(in_force, config)


def main() -> None:
    """Run the command line; the entry point of the distribution."""
    open_standard_streams()
    from runtime.tether import tie_to_supervisor

    tie_to_supervisor()
    with output_that_may_fail():
        app()


if __name__ == "__main__":
    main()
