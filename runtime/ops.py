"""The commands of operators: they ask a running service over HTTP, from any machine.

Exit codes: 0 done, 1 failed or refused, 2 wrong use, 3 there is what was looked for (`ps
--stuck`, `ps --slow`), for scripts that watch.
"""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from runtime.arguments import HERE, AsJson, KeyFile, Url, fail, key_or_fail

if TYPE_CHECKING:
    from runtime.admin_client import AdminClient, Json

T = TypeVar("T")

_PANEL = "A service that runs"
ops_app = typer.Typer()
letters_app = typer.Typer(
    no_args_is_help=True, help="What was given up: list it, retry it, drop it."
)
ops_app.add_typer(letters_app, name="dead-letters", rich_help_panel=_PANEL)

_FOUND = 3


class Scope(StrEnum):
    """Which processes are restarted."""

    ALL = "all"
    GATEWAYS = "gateways"
    WORKERS = "workers"


class DrainScope(StrEnum):
    """Which processes are drained."""

    GATEWAYS = "gateways"
    WORKERS = "workers"


class LetterKind(StrEnum):
    """What was given up."""

    ACTION = "action"
    TURN = "turn"
    WEBHOOK = "webhook"


ContextId = Annotated[str, typer.Argument(help="Id of the context.", metavar="ID")]


@ops_app.command(rich_help_panel=_PANEL)
def restart(
    url: Url = HERE,
    scope: Annotated[Scope, typer.Option(help="Which processes.")] = Scope.ALL,
    force: Annotated[
        bool, typer.Option("--force", help="Kill instead of draining; also while turns run.")
    ] = False,
    key_file: KeyFile = None,
) -> None:
    """Restart the processes of a running `up` or `supervise`, one by one.

    Each new process serves before the old one drains: no request is
    refused, streams go on elsewhere. What was drained comes back. Ends with
    1 if one did not come up.

        contextd restart --scope workers
    """
    from runtime.restart_client import run_restart

    raise typer.Exit(run_restart(_client(url, key_file), scope.value, force=force))


@ops_app.command(rich_help_panel=_PANEL)
def drain(
    scope: Annotated[DrainScope, typer.Option(help="Which processes.")] = DrainScope.WORKERS,
    process: Annotated[
        str | None,
        typer.Option(
            help="Only this one: a worker's id, or HOST:PROCESS-ID (`contextd top`).",
            metavar="NAME",
        ),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Kill instead; also if no worker is left.")
    ] = False,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """End processes, and put nothing in their place until the next restart.

    For maintenance, for fewer processes, for a bad machine. Gateways are
    drained one at a time, and never the last one. What their turns were at
    goes on with other workers.

        contextd drain --process worker-2-1-0c3f
        contextd restart                # brings them back
    """
    from runtime.restart_client import run_drain

    if scope is DrainScope.GATEWAYS and process is None:
        fail("Gateways are drained one at a time: name it with --process HOST:PROCESS-ID.", 2)
    client = _client(url, key_file)
    raise typer.Exit(run_drain(client, scope.value, process=process, force=force))


@ops_app.command("ps", rich_help_panel=_PANEL)
def list_contexts(
    stuck: Annotated[
        bool, typer.Option("--stuck", help="Only those that no living worker has.")
    ] = False,
    slow: Annotated[
        bool, typer.Option("--slow", help="Only those whose worker gets nowhere.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that rest: all there are.")
    ] = False,
    status: Annotated[
        str | None, typer.Option(help="Only those with this status.", metavar="STATUS")
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only this owner's.")] = None,
    older_s: Annotated[
        int, typer.Option("--older", min=0, help="Only those that wait for so many seconds.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    as_json: AsJson = False,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """List the contexts at work, over all owners, and which of them do not move.

    Metadata only: nobody's words are shown. With --stuck or --slow it ends
    with 3 if there are some. `contextd inspect ID` says more about one.

        contextd ps --stuck || page-somebody
    """
    from urllib.parse import urlencode

    from runtime.ops_tables import print_contexts

    flags = {"stuck": stuck, "slow": slow, "all": everything}
    query = {name: "true" for name, given in flags.items() if given}
    query |= {name: given for name, given in (("status", status), ("owner", owner)) if given}
    if older_s:
        query["older_s"] = str(older_s)
    client = _client(url, key_file)
    rows = _asked(
        lambda: _rows(client, f"/admin/contexts?{urlencode(query)}", "contexts", limit)
    )
    if as_json:
        _print_json(rows)
    else:
        print_contexts(rows, cut=len(rows) == limit)
    raise typer.Exit(_FOUND if rows and (stuck or slow) else 0)


@ops_app.command("workers", rich_help_panel=_PANEL)
def list_workers(as_json: AsJson = False, url: Url = HERE, key_file: KeyFile = None) -> None:
    """List the workers, and how many contexts each has.

    contextd workers --json
    """
    from runtime.ops_tables import print_workers

    client = _client(url, key_file)
    rows: list[Json] = _asked(lambda: client.get("/admin/workers"))["workers"]
    if as_json:
        _print_json(rows)
    else:
        print_workers(rows)


@ops_app.command(rich_help_panel=_PANEL)
def top(
    every_s: Annotated[
        float, typer.Option("--every", min=0.5, help="Seconds between two looks.")
    ] = 2.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the numbers once, as JSON, and end.")
    ] = False,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """Watch the whole service: contexts, rates, latencies, processes.

    Goes on through restarts; Ctrl-C ends it. The key needs the scope
    `dashboard`.

        contextd top --every 5
    """
    from runtime.top import run_top

    client = _client(url, key_file)
    if as_json:
        _print_json(_asked(lambda: client.get("/api/v1/stats")))
        return
    raise typer.Exit(run_top(client, every_s=every_s))


@ops_app.command("inspect", rich_help_panel=_PANEL)
def inspect_context(
    context_id: ContextId, as_json: AsJson = False, url: Url = HERE, key_file: KeyFile = None
) -> None:
    """Show one context in depth: mailbox, log, snapshot, turn, worker, job.

    Metadata only: nobody's words are shown.

        contextd inspect 01932c5e-7a10-7c3b-9d2e-5f6071829304
    """
    from runtime.ops_tables import print_inspection

    client = _client(url, key_file)
    found = _asked(lambda: client.get(f"/admin/contexts/{_id(context_id)}"))
    if as_json:
        _print_json(found)
    else:
        print_inspection(found)


@ops_app.command(rich_help_panel=_PANEL)
def replay(
    context_id: ContextId,
    at_version: Annotated[
        int | None,
        typer.Option("--at", min=1, help="As of this version, and print what it was."),
    ] = None,
    as_json: AsJson = False,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """Prove that what the server shows of a context is what its log says.

    Reads the log with a key of the owner's, folds it here, and compares. Ends
    with 1 and the first difference if there is one.

        contextd replay 01932c5e-7a10-7c3b-9d2e-5f6071829304
        contextd replay 01932c5e-7a10-7c3b-9d2e-5f6071829304 --at 12
    """
    from dataclasses import asdict

    from runtime.replaying import replay_context

    client = _client(url, key_file)
    found = _asked(lambda: replay_context(client, _id(context_id), at_version=at_version))
    if as_json:
        _print_json(asdict(found))
    elif found.difference is not None:
        typer.echo(f"Version {found.version} differs. {found.difference}", err=True)
    else:
        if at_version is not None:
            _print_json(found.context)
        behind = (
            f" behind the base of version {found.base_version}" if found.base_version else ""
        )
        typer.echo(
            f"Version {found.version}: {found.events} events{behind} lead to what is shown.",
            err=at_version is not None,
        )
    raise typer.Exit(0 if found.difference is None else 1)


@ops_app.command(rich_help_panel=_PANEL)
def requeue(context_id: ContextId, url: Url = HERE, key_file: KeyFile = None) -> None:
    """Have a context activated; where a worker has it, nothing changes.

    contextd requeue 01932c5e-7a10-7c3b-9d2e-5f6071829304
    """
    client = _client(url, key_file)
    done = _asked(lambda: client.post(f"/admin/contexts/{_id(context_id)}/requeue", {}))
    typer.echo("It is in the queue." if done["enqueued"] else "It was in the queue already.")


@ops_app.command(rich_help_panel=_PANEL)
def cancel(context_id: ContextId, url: Url = HERE, key_file: KeyFile = None) -> None:
    """Stop the turn that a context is at, as its owner could.

    What has arrived of the reply is kept.

        contextd cancel 01932c5e-7a10-7c3b-9d2e-5f6071829304
    """
    client = _client(url, key_file)
    _asked(lambda: client.post(f"/admin/contexts/{_id(context_id)}/cancel", {}))
    typer.echo(f"A cancel is in its mailbox; `contextd inspect {context_id}` shows the rest.")


@ops_app.command(rich_help_panel=_PANEL)
def compact(
    context_id: ContextId,
    keep: Annotated[
        int, typer.Option("--keep", min=1, help="Events that the log keeps, the newest.")
    ] = 100,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """Have the state take the place of most of a context's log.

    Its worker does so as soon as the context rests. The events are gone;
    messages and versions stay.

        contextd compact 01932c5e-7a10-7c3b-9d2e-5f6071829304 --keep 50
    """
    client = _client(url, key_file)
    order: Json = {"keep_events": keep}
    done = _asked(lambda: client.post(f"/admin/contexts/{_id(context_id)}/compact", order))
    if done["status"] == "short":
        typer.echo(f"It has no more than {keep} events.")
    else:
        typer.echo(f"It will be compacted down to {keep} events once it rests.")


@letters_app.command("list")
def list_letters(
    context: Annotated[
        str | None, typer.Option(help="Only those of this context.", metavar="ID")
    ] = None,
    kind: Annotated[LetterKind | None, typer.Option(help="Only those of this kind.")] = None,
    cause: Annotated[
        str | None, typer.Option(help="Only those whose cause says this.", metavar="TEXT")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 100,
    as_json: AsJson = False,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """List what was given up, newest first.

    contextd dead-letters list --kind webhook
    """
    from urllib.parse import urlencode

    from runtime.ops_tables import print_letters

    given = (("context", context and _id(context)), ("kind", kind and kind.value))
    query = {name: value for name, value in (*given, ("cause", cause)) if value}
    client = _client(url, key_file)
    rows = _asked(
        lambda: _rows(client, f"/admin/dead_letters?{urlencode(query)}", "dead_letters", limit)
    )
    if as_json:
        _print_json(rows)
    else:
        print_letters(rows)


LetterIds = Annotated[
    list[str] | None, typer.Argument(help="Ids of letters.", metavar="[LETTER]...")
]
OfContext = Annotated[
    str | None, typer.Option("--context", help="All of this context.", metavar="ID")
]
OfKind = Annotated[LetterKind | None, typer.Option("--kind", help="All of this kind.")]
OfCause = Annotated[
    str | None, typer.Option("--cause", help="All whose cause says this.", metavar="TEXT")
]
Everything = Annotated[bool, typer.Option("--all", help="All there are.")]


@letters_app.command("retry")
def retry_letters(
    letters: LetterIds = None,
    context: OfContext = None,
    kind: OfKind = None,
    cause: OfCause = None,
    everything: Everything = False,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """Have dead letters done once more: those named, or all that fit, oldest first.

    Ends with 1 if some could not be; they stay.

        contextd dead-letters retry --cause "Connection refused"
    """
    order = _order(letters, context, kind, cause, everything=everything)
    client = _client(url, key_file)
    if letters:
        for letter in letters:
            _asked(partial(client.post, _letter(letter, "/retry"), {}))
        typer.echo(f"{len(letters)} retried.")
        return
    raise typer.Exit(_handle(client, "retry", order, "retried"))


@letters_app.command("drop")
def drop_letters(
    letters: LetterIds = None,
    context: OfContext = None,
    kind: OfKind = None,
    cause: OfCause = None,
    everything: Everything = False,
    url: Url = HERE,
    key_file: KeyFile = None,
) -> None:
    """Forget dead letters: those named, or all that fit.

    contextd dead-letters drop --context 01932c5e-7a10-7c3b-9d2e-5f6071829304
    """
    order = _order(letters, context, kind, cause, everything=everything)
    client = _client(url, key_file)
    if letters:
        for letter in letters:
            _asked(partial(client.delete, _letter(letter, "")))
        typer.echo(f"{len(letters)} dropped.")
        return
    raise typer.Exit(_handle(client, "drop", order, "dropped"))


def _order(
    letters: list[str] | None,
    context: str | None,
    kind: LetterKind | None,
    cause: str | None,
    *,
    everything: bool,
) -> "Json":
    order: Json = {}
    if context is not None:
        order["context_id"] = _id(context)
    if kind is not None:
        order["kind"] = kind.value
    if cause is not None:
        order["cause"] = cause
    ways = sum((bool(letters), bool(order), everything))
    if ways != 1:
        fail("Name letters, or say which with --context, --kind, --cause, or --all.", 2)
    return {"everything": True} if everything else order


def _handle(client: "AdminClient", act: str, order: "Json", done: str) -> int:
    """Have all letters that fit handled, page by page; the exit code."""
    count, failed = 0, dict[str, str]()
    while True:
        page = _asked(lambda: client.post(f"/admin/dead_letters/{act}", order))
        count += page["done"]
        failed |= {one["id"]: one["problem"] for one in page["failed"]}
        if not page["more"] or not page["done"]:
            break
    typer.echo(f"{count} {done}.")
    for letter, problem in failed.items():
        typer.echo(f"contextd: {letter} stays: {problem}", err=True)
    if page["more"]:
        typer.echo(
            f"contextd: There are more that fit, but none of the oldest could be {done}.",
            err=True,
        )
    return 1 if failed else 0


def _client(url: str, key_file: KeyFile) -> "AdminClient":
    from runtime.admin_client import AdminClient

    return AdminClient(url, key_or_fail(url, key_file))


def _asked(ask: Callable[[], T]) -> T:
    """An answer, or the end of the command."""
    from runtime.admin_client import CannotAsk

    try:
        return ask()
    except CannotAsk as error:
        fail(str(error), 1)


def _rows(client: "AdminClient", path: str, name: str, limit: int) -> "list[Json]":
    rows: list[Json] = []
    for page in client.pages(path):
        rows += page[name]
        if len(rows) >= limit:
            break
    return rows[:limit]


def _id(context_id: str) -> str:
    from urllib.parse import quote

    return quote(context_id, safe="")


def _letter(letter_id: str, act: str) -> str:
    return f"/admin/dead_letters/{_id(letter_id)}{act}"


def _print_json(value: object) -> None:
    import json

    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
