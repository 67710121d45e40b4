"""What webhooks are to tell: beside the log in one step, first things first, until told."""

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from pydantic import SecretStr, ValidationError

from fsm import Event
from storage import DeadLetters, Notice, StorageConfig, Store, keys
from tests.storage.arranging import create, kept, next_commit, own
from tests.storage.conftest import Backend
from tests.storage.test_sealing import key_file
from tests.support.playbook import CONTEXT_ID, DELETE, STARTED, Playbook, rename, replied, say

SECRET = "whsec_" + "c2VjcmV0" * 4
ON = {"webhook_url": "http://127.0.0.1:1/hook?token=t0ken", "webhook_secret": SECRET}
EVERY = {**ON, "webhook_events": "context-created,context-renamed,context-deleted"}
NOW_MS = 1_000_000


async def waiting(store: Store) -> list[tuple[int, tuple[str, ...]]]:
    """Version and occasions of what the context has still to tell."""
    (notices,) = keys.of_context(CONTEXT_ID, "notices")
    found = cast("list[bytes]", await store.link.call("ZRANGE", notices, 0, -1))
    told = [Notice.model_validate_json(raw) for raw in found]
    return [(notice.version, notice.occasions) for notice in told]


async def claim(store: Store, *, now_ms: int = NOW_MS, limit: int = 10) -> list[str]:
    claimed = await store.webhooks.claim(
        now_ms=now_ms, again_ms=now_ms + 100, latest_ms=now_ms + 10_000, limit=limit
    )
    return [*claimed]


async def first_of(store: Store) -> tuple[Notice, int]:
    first = await store.webhooks.first(CONTEXT_ID)
    assert first is not None
    return first


async def arrange(store: Store, *, versions: int = 2) -> Playbook:
    """A context whose first `versions` events are to be told, as far as they are wanted."""
    book = Playbook()
    await create(store, book.log[0])
    owned = await own(store)
    for _ in range(versions - 1):
        before = book.state
        book.given(rename(f"Title {book.state.version}"))
        notice = store.webhooks.notice(before, book.log[-1], book.state)
        assert notice is not None
        commit = next_commit(book, owned, base=before.version)
        await store.ownership.commit(replace(commit, notices=[notice]))
        await store.ownership.commit(
            replace(commit, notices=[notice])
        )  # repeated, it adds nothing
    return book


async def test_a_notice_holds_nothing_that_is_to_be_redacted(backend: Backend) -> None:
    async with backend.connect(**EVERY, redact="email") as store:
        book = Playbook().given(rename("Ask ada@mail.example."))
        notice = store.webhooks.notice(book.state, book.log[-1], book.state)
        assert notice is not None
        assert notice.event["title"] == "Ask [email]."


async def test_without_a_webhook_nothing_is_kept_for_one(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    assert store.webhooks.notice(None, book.log[0], book.state) is None
    assert keys.WEBHOOKS not in await kept(store)


async def test_only_what_was_asked_for_is_told(backend: Backend) -> None:
    async with backend.connect(**ON, webhook_events="turn-rested") as store:
        book = Playbook()
        await create(store, book.log[0])
        assert await waiting(store) == []
        told: list[str] = []
        for event in (say(), STARTED, replied()):
            before = book.state
            book.given(event)
            notice = store.webhooks.notice(before, book.log[-1], book.state)
            told += notice.occasions if notice else ()
        assert told == ["reply-ended", "turn-rested"]


async def test_a_notice_is_there_with_its_event_and_each_context_is_claimed_once(
    backend: Backend,
) -> None:
    async with backend.connect(**EVERY) as store:
        book = await arrange(store)
        assert await waiting(store) == [(1, ("context-created",)), (2, ("context-renamed",))]
        assert await claim(store) == [CONTEXT_ID]
        assert await claim(store) == []
        assert await claim(store, now_ms=NOW_MS + 100) == [CONTEXT_ID]
        notice, failed = await first_of(store)
        assert (notice.version, notice.owner, failed) == (1, "ada", 0)
        assert notice.event == book.log[0].model_dump(mode="json")


async def test_a_commit_asks_for_its_notice_to_be_told_but_not_before_a_pause_is_over(
    backend: Backend,
) -> None:
    async with backend.connect(**ON, webhook_events="context-renamed") as store:
        assert await claim(store) == []
        book = await arrange(store)
        assert await claim(store) == [CONTEXT_ID]
        first, _ = await first_of(store)
        assert first.version == 2
        await store.webhooks.failed(CONTEXT_ID, first, tries=1, again_ms=NOW_MS + 50)
        owned = await own(store)
        before = book.state
        book.given(rename("Once more"))
        notice = store.webhooks.notice(before, book.log[-1], book.state)
        assert notice is not None
        commit = next_commit(book, owned, base=before.version)
        await store.ownership.commit(replace(commit, notices=[notice]))
        assert await claim(store) == []
        assert await claim(store, now_ms=NOW_MS + 50) == [CONTEXT_ID]


async def test_a_claim_of_a_clock_that_has_jumped_does_not_last(backend: Backend) -> None:
    async with backend.connect(**EVERY) as store:
        await arrange(store)
        assert await claim(store, now_ms=NOW_MS + 10**9) == [CONTEXT_ID]
        await store.link.call("ZADD", keys.WEBHOOKS, 0, "another")  # which waits for nobody
        assert await claim(store) == ["another", CONTEXT_ID]


async def test_the_longest_pause_is_waited_for_to_its_end(store: Store) -> None:
    await store.link.call("ZADD", keys.WEBHOOKS, NOW_MS + 10_000, CONTEXT_ID)
    assert await claim(store) == []
    assert await claim(store, now_ms=NOW_MS - 1) == [CONTEXT_ID]


async def test_no_more_contexts_are_claimed_than_there_is_room_for(store: Store) -> None:
    far_ms = NOW_MS + 10**9
    await store.link.call("ZADD", keys.WEBHOOKS, 0, "come", far_ms, "ahead", far_ms, "beyond")
    assert await claim(store, limit=1) == ["come"]
    assert await claim(store, limit=1) == ["ahead"]
    assert await claim(store, limit=2) == ["beyond"]


async def test_what_was_told_goes_and_with_the_last_of_it_everything(
    backend: Backend,
) -> None:
    async with backend.connect(**EVERY) as store:
        await arrange(store)
        first, _ = await first_of(store)
        assert await store.webhooks.told(CONTEXT_ID, first, again_ms=NOW_MS) == 1
        assert await store.webhooks.told(CONTEXT_ID, first, again_ms=NOW_MS) == -1
        second, _ = await first_of(store)
        assert second.version == 2
        assert await store.webhooks.told(CONTEXT_ID, second, again_ms=NOW_MS) == 0
        assert await store.webhooks.first(CONTEXT_ID) is None
        assert not {key for key in await kept(store) if "webhook" in key or "notices" in key}


async def test_a_failure_is_counted_and_waits_for_its_time(backend: Backend) -> None:
    async with backend.connect(**EVERY) as store:
        await arrange(store)
        first, _ = await first_of(store)
        for _ in range(2):
            await store.webhooks.failed(CONTEXT_ID, first, tries=1, again_ms=NOW_MS + 50)
        assert await first_of(store) == (first, 1)
        assert await claim(store, now_ms=NOW_MS + 49) == []
        assert await claim(store, now_ms=NOW_MS + 50) == [CONTEXT_ID]
        await store.webhooks.told(CONTEXT_ID, first, again_ms=NOW_MS)
        assert (await first_of(store))[1] == 0


async def test_what_is_given_up_becomes_a_dead_letter_once_and_can_be_put_back(
    backend: Backend,
) -> None:
    async with backend.connect(**EVERY) as store:
        await arrange(store)
        first, _ = await first_of(store)
        for left in (1, -1):
            assert left == await store.webhooks.give_up(
                CONTEXT_ID, first, cause="status 500", now_ms=NOW_MS, again_ms=NOW_MS
            )
        letters = DeadLetters(store.link, store.sealer)
        assert await letters.count() == 1
        letter = await letters.one(f"{CONTEXT_ID}.1.webhook")
        assert letter is not None
        assert (letter.notice, letter.cause, letter.mail) == (first, "status 500", None)
        assert (await letters.page(1)).ended == (NOW_MS, letter.id)
        second, _ = await first_of(store)
        assert second.version == 2
        await store.webhooks.failed(CONTEXT_ID, second, tries=3, again_ms=NOW_MS)
        for _ in range(2):
            await store.webhooks.put_back(CONTEXT_ID, first)
        assert await letters.drop(letter.id)
        assert await waiting(store) == [(1, ("context-created",)), (2, ("context-renamed",))]
        assert await first_of(store) == (first, 0)
        assert await claim(store) == [CONTEXT_ID]


async def test_what_is_put_back_is_told_once_where_nothing_else_waits_and_contents_are_sealed(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(**EVERY, encryption=key_file(tmp_path, "new")) as store:
        await arrange(store, versions=1)
        first, _ = await first_of(store)
        await store.webhooks.give_up(
            CONTEXT_ID, first, cause="status 500", now_ms=NOW_MS, again_ms=NOW_MS
        )
        assert await claim(store) == []
        for _ in range(2):
            await store.webhooks.put_back(CONTEXT_ID, first)
        assert await claim(store) == [CONTEXT_ID]
        assert await store.webhooks.told(CONTEXT_ID, first, again_ms=NOW_MS) == 0


async def delete(store: Store, book: Playbook) -> None:
    """Delete a context, and have it told."""
    owned = await own(store)
    before = book.state
    book.given(DELETE)
    notice = store.webhooks.notice(before, book.log[-1], book.state)
    assert notice is not None
    commit = next_commit(book, owned, base=before.version)
    await store.ownership.delete(replace(commit, notices=[notice]), "w1")


async def test_a_creation_and_a_deletion_ask_by_themselves_to_be_told(backend: Backend) -> None:
    book = Playbook()
    async with backend.connect(**ON, webhook_events="context-created") as store:
        await create(store, book.log[0])
        assert await claim(store) == [CONTEXT_ID]
        await store.webhooks.told(CONTEXT_ID, (await first_of(store))[0], again_ms=NOW_MS)
    async with backend.connect(**ON, webhook_events="context-deleted") as store:
        assert await claim(store) == []
        await delete(store, book)
        assert await claim(store) == [CONTEXT_ID]


async def test_a_deletion_is_not_told_before_a_pause_is_over(backend: Backend) -> None:
    async with backend.connect(**EVERY) as store:
        book = await arrange(store)
        first, _ = await first_of(store)
        await store.webhooks.failed(CONTEXT_ID, first, tries=1, again_ms=NOW_MS + 50)
        await delete(store, book)
        assert await claim(store) == []
        assert await claim(store, now_ms=NOW_MS + 50) == [CONTEXT_ID]


def noticed(store: Store, book: Playbook, *events: Event) -> list[Notice]:
    """Let events happen; the notices of them."""
    notices: list[Notice] = []
    for event in events:
        before = book.state
        book.given(event)
        notice = store.webhooks.notice(before, book.log[-1], book.state)
        assert notice is not None
        notices.append(notice)
    return notices


async def test_all_events_of_one_commit_are_told(backend: Backend) -> None:
    async with backend.connect(**EVERY) as store:
        book = await arrange(store)
        owned = await own(store)
        notices = noticed(store, book, rename("Third"), rename("Fourth"))
        await store.ownership.commit(replace(next_commit(book, owned, base=2), notices=notices))
        assert [version for version, _ in await waiting(store)] == [1, 2, 3, 4]


async def test_a_deletion_is_told_after_the_context_is_gone(backend: Backend) -> None:
    async with backend.connect(**EVERY) as store:
        book = await arrange(store)
        owned = await own(store)
        notices = noticed(store, book, rename("Last"), DELETE)
        commit = replace(next_commit(book, owned, base=2), notices=notices)
        await store.ownership.delete(commit, "w1")
        await store.ownership.delete(commit, "w1")
        assert [version for version, _ in await waiting(store)] == [1, 2, 3, 4]
        for left in (3, 2, 1, 0):
            first, _ = await first_of(store)
            assert left == await store.webhooks.told(CONTEXT_ID, first, again_ms=NOW_MS)
        assert not {key for key in await kept(store) if "ctx" in key or "webhook" in key}


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"webhook_url": "ftp://t0ken@example"}, "it must be an http"),
        ({"webhook_url": "https:///t0ken"}, "it must be an http"),
        ({"webhook_url": "https://example/t0ken"}, "webhook_url needs webhook_secret"),
        ({"webhook_secret": "t0ken"}, "it must be whsec_"),
        ({"webhook_secret": "whsec_dDBrZW4="}, "it must be whsec_"),
        ({"webhook_events": "reply-ended,all"}, "there is no event 'all'"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_no_secret_is_shown(
    settings: dict[str, str], why: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        StorageConfig.model_validate(settings)
    assert why in str(refused.value)
    assert "t0ken" not in str(StorageConfig.model_validate(ON))
    shown = refused.value.errors(include_url=False, include_input=False)
    assert "t0ken" not in str(shown)


def test_the_address_and_the_secret_are_secrets() -> None:
    config = StorageConfig.model_validate(ON)
    assert isinstance(config.webhook_url, SecretStr)
    assert isinstance(config.webhook_secret, SecretStr)
