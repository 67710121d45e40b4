"""Searches see what is committed, of this owner alone, in bounded memory."""

import asyncio
import contextlib
import threading
from collections.abc import Iterable

import pytest

from fsm import UNSEARCHED, ContextCreated, MessagesRecorded, Origin, RecordedMessage
from storage import StoreUnavailable, keys
from tests.support.playbook import BEGAN_MS
from tests.workers.stage import nth_id
from tests.workers.tools.shelf import context, made_shelf, open_shelf
from workers.tools.index import WORDS_MAX, Passage, TextIndex


def index_of(*texts: str) -> TextIndex:
    index = TextIndex()
    index.add(
        "c", [Passage(f"{number:02d}", "user", text) for number, text in enumerate(texts)]
    )
    return index


def texts(index: TextIndex, query: str, *, most: int = 10, chars: int = 1_000) -> list[str]:
    found = index.search(query, without="", matches_max=most, text_chars_max=chars)
    assert [match.score for match in found] == sorted(
        [match.score for match in found], reverse=True
    )
    return [match.text for match in found]


# Ranking


def test_rare_words_decide_and_short_texts_win() -> None:
    index = index_of(
        "the weather in the north",
        "the ferry to the north leaves at noon",
        "nothing to see",
        "the ferry",
        "the the the the",
        *["the others talk of the garden"] * 5,
    )
    assert texts(index, "when does the ferry leave?", most=2) == [
        "the ferry",
        "the ferry to the north leaves at noon",
    ]


def test_of_equals_the_newest_comes_first_and_no_more_than_asked_for() -> None:
    index = index_of(*["a boat"] * 9)
    found = index.search("boat", without="", matches_max=3, text_chars_max=100)
    assert [match.item for match in found] == ["08", "07", "06"]


def test_case_and_accents_do_not_matter() -> None:
    index = index_of("Grüezi mitenand", "Hello")
    assert texts(index, "GRUEZI") == ["Grüezi mitenand"]
    assert texts(index, "grüezi") == ["Grüezi mitenand"]


@pytest.mark.parametrize(
    "query",
    ["", "   ", "?!", '"', "*", "NEAR(", "AND", "NOT boat OR", "text:boat", "boat*", "'; DROP"],
)
def test_a_query_is_words_and_never_a_formula(query: str) -> None:
    index = index_of("a boat", "a car")
    assert texts(index, query) == (["a boat"] if "boat" in query else [])
    assert texts(index, "boat") == ["a boat"]


def test_of_a_very_long_query_the_first_words_count() -> None:
    index = index_of("last")
    filler = " ".join(f"word{number}" for number in range(WORDS_MAX))
    assert texts(index, f"last {filler}") == ["last"]
    assert texts(index, f"{filler} last") == []


def test_of_a_long_text_the_part_that_fits_is_shown() -> None:
    index = index_of(f"{'sand ' * 500}the needle lies here {'sand ' * 500}")
    (shown,) = texts(index, "needle", chars=1_000)
    assert "needle lies here" in shown
    assert len(shown) < 1_000


def test_a_text_of_endless_words_is_cut_too() -> None:
    index = index_of(f"boat {'x' * 5_000}")
    (part,) = texts(index, "boat", chars=1_000)
    assert len(part) == 1_000
    assert part.startswith("boat xxx")


def test_what_was_forgotten_is_not_found() -> None:
    index = index_of("one boat", "two boats", "three boat")
    index.add("d", [Passage("x", "user", "another boat")])
    index.forget("c", item="00")
    assert texts(index, "boat one") == ["another boat", "three boat"]
    index.forget("c")
    assert texts(index, "boat two three") == ["another boat"]


# Freshness


async def test_what_was_said_elsewhere_is_found_and_what_was_said_here_is_not() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.", title="Travel")
        await shelf.keep(2, "Tomatoes want sun.")
        (found,) = await shelf.searches.find(context(), "When does the ferry leave?")
        assert (found.match.home, found.title) == (nth_id(1), "Travel")
        assert found.match.text == "The ferry leaves at noon."
        assert found.match.score > 0
        assert await shelf.find("ferry", asking=1) == []


async def test_a_new_message_is_found_at_once_and_only_its_context_is_read() -> None:
    async with open_shelf() as shelf:
        for number in range(1, 41):
            await shelf.keep(number, f"message of context {number}")
        assert await shelf.find("ferry") == []
        assert sorted(shelf.store.reads) == [nth_id(number) for number in range(1, 41)]
        shelf.store.reads.clear()
        await shelf.speak(7, "The ferry leaves at noon.")
        assert await shelf.find("ferry") == ["The ferry leaves at noon."]
        assert shelf.store.reads == [nth_id(7)]
        shelf.store.reads.clear()
        assert (await shelf.find("context 7"))[0] == "message of context 7"
        assert shelf.store.reads == []


async def test_a_worker_finds_what_another_has_committed() -> None:
    async with open_shelf() as shelf:
        other = made_shelf(shelf.store)
        assert await other.find("ferry") == []
        await shelf.keep(1, "The ferry leaves at noon.")
        assert await other.find("ferry") == ["The ferry leaves at noon."]


async def test_a_deleted_context_is_never_found_again() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.")
        await shelf.keep(2, "The ferry is late.")
        assert len(await shelf.find("ferry")) == 2
        await shelf.delete(1)
        assert await shelf.find("ferry leaves noon") == ["The ferry is late."]


async def test_a_context_that_cannot_be_opened_keeps_nobody_from_searching() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.")
        await shelf.keep(2, "The ferry is late.")
        await shelf.store.link.call("HSET", keys.meta(nth_id(1)), "summary", b"\xffsealed")
        assert await shelf.find("ferry") == ["The ferry is late."]


async def test_a_context_that_is_not_to_be_searched_is_not() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.", labels={UNSEARCHED: "yes"})
        assert await shelf.find("ferry") == []
        await shelf.speak(1, "The ferry is late.")
        assert await shelf.find("ferry") == []


async def test_only_the_newest_contexts_are_searched() -> None:
    async with open_shelf(search_contexts_max=2) as shelf:
        for number in (1, 2, 3):
            await shelf.keep(number, f"ferry {number}")
        assert sorted(await shelf.find("ferry")) == ["ferry 2", "ferry 3"]


async def test_the_same_message_in_a_context_and_its_fork_counts_once() -> None:
    async with open_shelf(search_matches_max=2) as shelf:
        said = MessagesRecorded(
            at_ms=BEGAN_MS + 1,
            messages=(RecordedMessage(role="user", content="The ferry leaves at noon."),),
        )
        await shelf.keep(1)
        state = await shelf.happen(1, said)
        fork = ContextCreated(
            at_ms=BEGAN_MS,
            context_id=nth_id(2),
            owner="ada",
            origins=(Origin(context_id=nth_id(1), version=state.version),),
        )
        await shelf.store.admissions.create(fork, first=None, key="", digest="")
        copied = await shelf.happen(2, said)
        assert copied.messages[0].id == state.messages[0].id
        await shelf.keep(3, "A ferry, and much besides that has to do with no such thing.")
        assert await shelf.find("ferry") == [
            "The ferry leaves at noon.",
            "A ferry, and much besides that has to do with no such thing.",
        ]


async def test_after_the_store_may_have_lost_commits_everything_is_read_anew() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.")
        await shelf.find("ferry")
        shelf.store.reads.clear()
        shelf.store.epoch = "9"
        assert await shelf.find("ferry") == ["The ferry leaves at noon."]
        assert shelf.store.reads == [nth_id(1)]


# Notes


async def test_notes_are_found_and_those_that_were_removed_are_not() -> None:
    async with open_shelf() as shelf:
        await shelf.notes.add("ada", "n1", "Ferry tickets are in the drawer.")
        assert await shelf.find("ferry") == ["Ferry tickets are in the drawer."]
        await shelf.notes.add("ada", "n2", "Ferry: bring a coat.")
        assert len(await shelf.find("ferry")) == 2
        assert await shelf.notes.remove("ada", "n1")
        assert await shelf.find("ferry tickets") == ["Ferry: bring a coat."]


# Owners


async def test_nobody_finds_what_another_owner_has_said_or_noted() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.", owner="ada")
        await shelf.keep(2, "My ferry is secret.", owner="bob")
        await shelf.notes.add("bob", "n1", "The ferry's key is under the mat.")
        await shelf.find("ferry", owner="bob")
        assert await shelf.find("ferry") == ["The ferry leaves at noon."]
        assert await shelf.find("ferry", owner="eve") == []
        assert sorted(await shelf.find("ferry", owner="bob")) == [
            "My ferry is secret.",
            "The ferry's key is under the mat.",
        ]


async def test_what_others_say_does_not_change_a_score() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.")
        await shelf.keep(2, "Tomatoes want sun.")
        (before,) = await shelf.searches.find(context(), "ferry")
        for number in range(10, 20):
            await shelf.keep(number, "ferry ferry ferry", owner="bob")
        await shelf.find("ferry", owner="bob")
        (after,) = await shelf.searches.find(context(), "ferry")
        assert after.match.score == before.match.score


# Bounds


async def test_the_index_of_whoever_asked_longest_ago_is_dropped_and_made_again() -> None:
    async with open_shelf(search_text_bytes_max=2_500) as shelf:
        for number, owner in enumerate(("ada", "bob", "eve"), start=1):
            await shelf.keep(number, f"ferry {'x' * 1_000}", owner=owner)
        await shelf.find("ferry", owner="ada")
        await shelf.find("ferry", owner="bob")
        await shelf.find("ferry", owner="ada")
        assert 2_000 < shelf.searches.text_bytes <= 2_500
        await shelf.find("ferry", owner="eve")
        assert 2_000 < shelf.searches.text_bytes <= 2_500
        shelf.store.reads.clear()
        assert len(await shelf.find("ferry", owner="ada")) == 1
        assert shelf.store.reads == []
        assert len(await shelf.find("ferry", owner="bob")) == 1
        assert shelf.store.reads == [nth_id(2)]


async def test_of_too_much_text_the_contexts_that_were_quiet_the_longest_are_left_out() -> None:
    async with open_shelf(search_owner_text_bytes_max=2_500) as shelf:
        for number in (1, 2, 3):
            await shelf.keep(number, f"ferry {number} {'x' * 1_000}")
        assert [text[:7] for text in await shelf.find("ferry")] == ["ferry 3", "ferry 2"]
        assert shelf.searches.text_bytes <= 2_500
        await shelf.speak(1, "ferry again")
        found = [text[:7] for text in await shelf.find("ferry")]
        assert sorted(found) == ["ferry 1", "ferry 3", "ferry a"]
        shelf.store.reads.clear()
        await shelf.find("ferry")
        assert shelf.store.reads == []


# What goes wrong


async def test_a_search_without_a_store_fails_and_the_next_one_does_not() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.")
        read = shelf.store.read

        async def unavailable(*_: object, **__: object) -> None:
            raise StoreUnavailable("down")

        object.__setattr__(shelf.store, "read", unavailable)
        with pytest.raises(StoreUnavailable):
            await shelf.find("ferry")
        object.__setattr__(shelf.store, "read", read)
        assert await shelf.find("ferry") == ["The ferry leaves at noon."]


async def test_a_search_that_was_cancelled_leaves_the_others_right() -> None:
    async with open_shelf() as shelf:
        for number in range(1, 30):
            await shelf.keep(number, f"ferry {number}")
        for turns in range(0, 60, 7):
            async with asyncio.TaskGroup() as group:
                cut = group.create_task(shelf.find("ferry"), name="cut")
                whole = group.create_task(shelf.find("ferry 17"), name="whole")
                for _ in range(turns):
                    await asyncio.sleep(0)
                cut.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await cut
                assert (await whole)[0] == "ferry 17"


async def test_a_search_that_is_cancelled_while_its_reads_fail_is_cancelled() -> None:
    reading, failing = asyncio.Event(), asyncio.Event()

    async def unavailable(*_: object, **__: object) -> None:
        reading.set()
        await failing.wait()
        raise StoreUnavailable("down")

    async with open_shelf() as shelf:
        await shelf.keep(1, "ferry")
        object.__setattr__(shelf.store, "read", unavailable)
        async with asyncio.TaskGroup() as group:
            cut = group.create_task(shelf.find("ferry"), name="cut")
            await reading.wait()
            failing.set()
            await asyncio.sleep(0)
            cut.cancel()
            with pytest.raises(asyncio.CancelledError):
                await cut


async def test_an_index_that_a_thread_may_still_write_to_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add, reached, opened = TextIndex.add, threading.Event(), threading.Event()

    def held(index: TextIndex, home: str, passages: Iterable[Passage]) -> None:
        if home == nth_id(2):
            reached.set()
            assert opened.wait(10)
        add(index, home, passages)

    async with open_shelf() as shelf:
        await shelf.keep(1, "ferry 1")
        await shelf.keep(2, "ferry 2")
        with monkeypatch.context() as patched:
            patched.setattr(TextIndex, "add", held)
            async with asyncio.TaskGroup() as group:
                cut = group.create_task(shelf.find("ferry"), name="cut")
                await asyncio.to_thread(reached.wait, 10)
                cut.cancel()
        shelf.store.reads.clear()
        assert len(await shelf.find("ferry")) == 2
        assert sorted(shelf.store.reads) == [nth_id(1), nth_id(2)]
        opened.set()
