"""The commands of operators against a service that runs in this process."""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass

import orjson
import pytest
import structlog
from aiohttp import web
from rich.console import Console
from typer.testing import CliRunner, Result

from fsm import ContextState
from runtime.cli import app
from runtime.ops_tables import print_contexts
from runtime.top import view
from storage import SCOPES, Access, keys
from storage.contract import Mail
from tests.gateway.test_admin import NOWHERE, bury
from tests.support.playbook import BEGAN_MS, say
from tests.support.service import Json, Service, eventually, serving
from tests.support.store_server import StoreServer

SECRET = "the words that nobody who runs the service reads"
HELD = f"{SECRET}\n/chunks 2000 50"
"""Its reply outlasts the test."""


@pytest.fixture(scope="module")
def shared_store() -> Iterator[StoreServer]:
    """A server for the tests of this file."""
    with StoreServer() as server:
        yield server


@pytest.fixture
def store_url(shared_store: StoreServer) -> str:
    """Url of an empty store."""
    client = shared_store.client()
    client.flushall()  # pyright: ignore[reportUnknownMemberType] - its kwargs are untyped
    client.close()
    return shared_store.url


@pytest.fixture(autouse=True)
def _silent_service() -> Iterator[None]:
    """The service's own log lines go nowhere: its standard output is the command's here."""
    with structlog.testing.capture_logs():
        yield


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands against one service."""

    url: str
    key: str | None = None

    async def run(self, *words: str) -> Result:
        """Run `contextd ...` to its end, beside the service."""
        environment = {"CONTEXTD_URL": self.url, "CONTEXTD_API_KEY": self.key}
        return await asyncio.to_thread(CliRunner().invoke, app, words, env=environment)

    async def read(self, *words: str) -> Json:
        """What it prints with --json."""
        done = await self.run(*words, "--json")
        assert done.exit_code in {0, 3}, done.output
        return orjson.loads(done.stdout)


def terminal(service: Service) -> Terminal:
    return Terminal(service.client.url)


async def working(service: Service) -> str:
    """A context whose turn runs."""
    context_id = await service.client.create(title=SECRET)
    await service.client.say(context_id, HELD, Prefer="respond-async")
    await service.client.until(context_id, "streaming_llm_response")
    return context_id


async def test_ps_shows_what_is_at_work_and_nothing_that_is_said(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id, resting = await working(service), await service.client.create()
        done = await terminal(service).run("ps")
        assert done.exit_code == 0
        assert re.search(f"{context_id} +local +streaming_llm_response", done.stdout)
        assert resting not in done.stdout
        assert SECRET not in done.stdout
        rows = await terminal(service).read("ps", "--all")
        assert {row["id"] for row in rows} == {context_id, resting}
        assert len(await terminal(service).read("ps", "--all", "--limit", "1")) == 1
        assert await terminal(service).read("ps", "--owner", "somebody") == []
        assert len(await terminal(service).read("workers")) == 1
        assert "worker" in (await terminal(service).run("workers")).stdout


async def test_ps_ends_with_three_where_it_has_found_what_is_stuck(store_url: str) -> None:
    async with serving(store_url, workers=0, storage={"stuck_after_s": 0.1}) as service:
        assert (await terminal(service).run("ps", "--stuck")).exit_code == 0
        context_id = await service.client.create()
        await service.client.say(context_id, "Hello", Prefer="respond-async")

        async def is_found() -> bool:
            return (await terminal(service).run("ps", "--stuck")).exit_code == 3

        await eventually(is_found)
        assert "stuck" in (await terminal(service).run("ps")).stdout
        assert (await terminal(service).run("ps", "--slow")).exit_code == 0


async def test_inspect_shows_one_context_in_depth(store_url: str) -> None:
    async with serving(store_url) as service:
        context_id = await working(service)
        done = await terminal(service).run("inspect", context_id)
        assert done.exit_code == 0
        assert re.search("pending +call-model", done.stdout)
        assert SECRET not in done.stdout
        found = await terminal(service).read("inspect", context_id)
        assert found["context"]["id"] == context_id


async def test_what_cannot_be_opened_is_shown_as_such(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        context_id = await service.client.create()
        store = service.stores[0]
        done = await terminal(service).run("inspect", context_id)
        assert re.search(r"status +idle, last changed \d+s ago", done.stdout)
        await store.link.call("HSET", keys.meta(context_id), "summary", b"\xffsealed")
        done = await terminal(service).run("inspect", context_id)
        assert re.search(r"status +unreadable *\n", done.stdout)
        done = await terminal(service).run("ps", "--all", "--status", "unreadable")
        assert re.search(f"{context_id} +local +unreadable +1 +-", done.stdout)


@pytest.mark.parametrize(
    "command", ["inspect", "replay", "requeue", "cancel", "compact", "dead-letters retry"]
)
async def test_what_is_not_there_is_said_so(store_url: str, command: str) -> None:
    async with serving(store_url, workers=0) as service:
        for name in (NOWHERE, "../workers", "x?y"):
            done = await terminal(service).run(*command.split(), name)
            assert (done.exit_code, done.stdout) == (1, ""), name
            assert done.stderr.startswith("contextd: ")


async def test_who_may_go_on_with_force_is_told_so_in_words_that_fit_a_terminal(
    store_url: str,
) -> None:
    async with serving(store_url, gateway={"restart_confirm": True}) as service:
        await working(service)
        for command in ("restart", "drain"):
            done = await terminal(service).run(command)
            assert done.exit_code == 1
            assert f"{command} with force" in done.stderr
            assert "Send" not in done.stderr


async def test_a_turn_is_cancelled_and_its_log_compacted_and_proved(store_url: str) -> None:
    async with serving(store_url, worker={"linger_s": 0.0}) as service:
        client, run = service.client, terminal(service).run
        context_id = await working(service)
        assert (await run("replay", context_id)).exit_code == 0
        assert (await run("requeue", context_id)).exit_code == 0
        assert (await run("cancel", context_id)).exit_code == 0
        version = (await client.until(context_id, "idle"))["version"]
        done = await run("replay", context_id)
        said = f"Version {version}: {version} events lead to what is shown.\n"
        assert (done.exit_code, done.stdout) == (0, said)
        old = await run("replay", context_id, "--at", "1")
        begun = orjson.loads(old.stdout)
        assert (old.exit_code, begun["version"]) == (0, 1)
        assert begun["cursor"] == f"{service.stores[0].epoch}.1.0"
        page = await client.get(f"/api/contexts/{context_id}/state?after={begun['cursor']}")
        assert page.json["events"][0]["event"] == "message-received"
        assert (await run("compact", context_id, "--keep", "1")).exit_code == 0

        async def is_compacted() -> bool:
            return "no more" in (await run("compact", context_id, "--keep", "1")).stdout

        await eventually(is_compacted)
        proof = await terminal(service).read("replay", context_id)
        assert (proof["base_version"], proof["difference"]) == (version, None)
        refused = await run("replay", context_id, "--at", "1")
        assert (refused.exit_code, "begins with version" in refused.stderr) == (1, True)


async def test_replay_tells_the_first_place_where_the_log_says_something_else(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, worker={"linger_s": 0.0}) as service:
        context_id = await service.client.create(title="true")
        await service.client.say(context_id, "Hello")
    (snap,) = keys.of_context(context_id, "snap")
    with shared_store.client() as client:
        head = client.hget(snap, "head")
        assert isinstance(head, (str, bytes))
        false = ContextState.model_validate_json(head).model_copy(update={"title": "false"})
        client.hset(snap, "head", false.model_dump_json())
    async with serving(store_url, workers=0) as service:
        done = await terminal(service).run("replay", context_id)
        assert done.exit_code == 1
        assert 'title: the log says "true", shown is "false"' in done.stderr


async def test_letters_are_listed_retried_and_dropped(
    store_url: str, shared_store: StoreServer
) -> None:
    async with serving(store_url, workers=0) as service:
        run, read = terminal(service).run, terminal(service).read
        context_id = await service.client.create()
        mail = Mail(event=say("again").model_copy(update={"at_ms": 7}))
        first, second = (bury(shared_store, context_id, mail=mail, at_ms=n) for n in (1, 2))
        lost = bury(shared_store, NOWHERE, at_ms=3)
        listed = await run("dead-letters", "list")
        assert all(name in listed.stdout for name in (first, second, lost))
        assert [one["id"] for one in await read("dead-letters", "list", "--kind", "turn")] == [
            lost
        ]
        assert (await run("dead-letters", "retry", first)).stdout == "1 retried.\n"
        done = await run("dead-letters", "retry", "--cause", "ended 3")
        assert (done.exit_code, done.stdout) == (1, "1 retried.\n")
        assert f"{lost} stays: /problems/not-found" in done.stderr
        dropped = await run("dead-letters", "drop", "--all")
        assert (dropped.exit_code, dropped.stdout) == (0, "1 dropped.\n")
        assert await read("dead-letters", "list") == []


@contextlib.asynccontextmanager
async def scripted_service(asked: list[str]) -> AsyncGenerator[Terminal, None]:
    """A service that always has more, whatever it is asked for; and what it was asked for."""
    row: Json = {"id": NOWHERE, "owner": "ada", "status": "idle", "version": 1, "mail": 0}
    row |= {"worker": None, "worker_lives": False, "trouble": "slow", "attempts": 0}
    row |= {"changed_at": None, "waits_since": None}

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.raw_path)
        if request.method == "POST":
            failed = [{"id": "c.1", "problem": "/problems/busy"}]
            return web.json_response({"done": 0, "failed": failed, "more": True})
        link = {"Link": '</admin/contexts?after=1>; rel="next"'}
        return web.json_response({"contexts": [row], "complete": True}, headers=link)

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield Terminal(f"http://127.0.0.1:{runner.addresses[0][1]}", "k")
    finally:
        await runner.cleanup()


async def test_ps_ends_with_three_where_it_has_found_what_is_slow_and_reads_no_further() -> (
    None
):
    asked: list[str] = []
    async with scripted_service(asked) as there:
        assert (await there.run("ps", "--slow", "--limit", "1")).exit_code == 3
        assert (await there.run("ps", "--limit", "2")).exit_code == 0
    assert asked == ["/admin/contexts?slow=true", "/admin/contexts?", "/admin/contexts?after=1"]


async def test_letters_that_cannot_be_retried_are_not_tried_for_ever() -> None:
    asked: list[str] = []
    async with scripted_service(asked) as there:
        done = await there.run("dead-letters", "retry", "--all")
    assert (done.exit_code, done.stdout, len(asked)) == (1, "0 retried.\n", 1)
    assert "none of the oldest could be retried" in done.stderr


async def test_an_id_stays_one_part_of_the_address() -> None:
    asked: list[str] = []
    async with scripted_service(asked) as there:
        await there.run("inspect", "../workers?x")
    assert asked == ["/admin/contexts/..%2Fworkers%3Fx"]


@pytest.mark.parametrize(
    "words",
    [
        ("dead-letters", "drop"),
        ("dead-letters", "retry", "--all", "--kind", "turn"),
        ("dead-letters", "retry", "x.1", "--all"),
        ("drain", "--scope", "gateways"),
        ("ps", "--limit", "0"),
        ("compact", "x", "--keep", "0"),
    ],
)
async def test_wrong_use_ends_with_two_before_anything_is_asked(words: tuple[str, ...]) -> None:
    done = await Terminal("http://127.0.0.1:1").run(*words)
    assert done.exit_code == 2


@pytest.mark.parametrize(
    "words", [("ps",), ("top",), ("workers",), ("restart",), ("drain", "--process", "w")]
)
async def test_where_nothing_answers_a_command_says_what_to_do(words: tuple[str, ...]) -> None:
    done = await Terminal("http://127.0.0.1:1").run(*words)
    assert (done.exit_code, "Is `contextd up` running?" in done.stderr) == (1, True)


async def test_a_key_that_does_not_allow_it_is_told_which_would(store_url: str) -> None:
    async with serving(store_url, workers=0, gateway={"auth": "keys"}) as service:
        access = Access(service.stores[0].link)
        _, text = await access.create(
            "k", owner="ada", scopes=["contexts:read"], now_ms=BEGAN_MS
        )
        for key in (text, "ctxd_nobody"):
            done = await Terminal(service.client.url, key).run("ps")
            assert (done.exit_code, "--key-file" in done.stderr) == (1, True)
        _, text = await access.create("k", owner="ada", scopes=SCOPES, now_ms=BEGAN_MS)
        assert (await Terminal(service.client.url, text).run("ps")).exit_code == 0


# Top

_LATENCY = {"count": 9, "p50_ms": 3.1, "p95_ms": 8.0, "p99_ms": 9.9}
STATS: Json = {
    "at": "2026-11-22T04:00:00.000Z",
    "contexts": {"total": 3, "by_phase": {"idle": 2, "streaming_llm_response": 1}},
    "mailbox": {"waiting": 4, "oldest_s": 1.5},
    "actions": {"delivered": 9, "applied": 8, "refused": 1, "per_s": 0.2},
    "turns": {"started": 4, "ended": {"completed": 3, "cancelled": 1}, "per_s": 0.1},
    "latency": {
        "window_s": 60,
        **dict.fromkeys(("send", "poll", "save", "first_token"), _LATENCY),
    },
    "saves": {"commits": 20, "snapshots": 4, "skipped_clean": 3, "bytes": 40_213},
    "viewers": {"sse": 1, "websocket": 0},
    "processes": [
        {
            "id": "worker-1-1-abc",
            "role": "worker",
            "host": "here",
            "process_id": 12,
            "started_at": "2026-11-22T03:00:00.000Z",
            "memory_bytes": 51_000_000,
            "cpu": 0.02,
            "lag_ms": 1.2,
            "draining": True,
            "load": {"contexts": 1, "turns": 0},
        }
    ],
    "dead_letters": 2,
    "errors": {"store-unavailable": 5, "internal": 0},
    "store": {"memory_bytes": 2_500_000_000, "memory_bytes_max": None, "durability": "strict"},
}


def test_the_screen_has_every_number_that_an_operator_looks_for() -> None:
    console = Console(width=160)
    with console.capture() as shown:
        console.print(view(STATS, "http://there", "It is away."))
    text = shown.get()
    for said in (
        *("It is away.", "3: 2 idle, 1 streaming_llm_response", "4 actions, the oldest 2 s"),
        *("2 dead letters", "8 applied, 1 refused", "3 completed, 1 cancelled", "1 sse"),
        *("40 KB", "2.5 GB, strict", "5 store-unavailable", "first token", "9.9"),
        *("here:12", "worker (drains)", "1 contexts", "51 MB", "2%", "worker-1-1-abc"),
    ):
        assert said in text, said
    assert "internal" not in text


async def test_top_prints_the_numbers_once_where_nobody_looks() -> None:
    async def stats(_request: web.Request) -> web.Response:
        return web.json_response(STATS)

    application = web.Application()
    application.router.add_get("/api/v1/stats", stats)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        there = Terminal(f"http://127.0.0.1:{runner.addresses[0][1]}")
        assert await there.read("top") == STATS
        done = await there.run("top")
        assert (done.exit_code, "here:12" in done.stdout) == (0, True)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("columns", ["20", "80", "300"])
def test_an_id_is_one_word_however_narrow_the_terminal(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal has it
    row: Json = {
        "id": "01932c5e-7a10-7c3b-9d2e-5f6071829304",
        "owner": "local",
        "status": "idle",
    }
    row |= {"worker": "worker-1-10-0cdbcba82dcf", "worker_lives": True, "trouble": None}
    row |= {"changed_at": None, "waits_since": None, "version": 1, "mail": 0, "attempts": 0}
    print_contexts([row], cut=False)
    shown = capsys.readouterr().out
    assert {row["id"], row["worker"]} < set(shown.split())
    assert len(shown.splitlines()) == 2
