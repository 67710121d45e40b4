"""Traces on their way through the store: with the mail, and with the running turn."""

import dataclasses

import orjson

from storage import MAIL, Mail, Store
from tests.storage.arranging import create, die, live, next_commit, own, say_mail
from tests.support.playbook import CONTEXT_ID, Playbook, say

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_mail_without_a_trace_is_what_versions_before_traces_read() -> None:
    assert orjson.loads(say_mail().model_dump_json()).keys() == {"event", "if_version"}


def test_mail_of_versions_before_traces_is_read() -> None:
    old = orjson.dumps({"event": orjson.loads(say_mail().event.model_dump_json())})
    assert MAIL.validate_json(old) == say_mail()


async def test_mail_brings_its_trace_to_the_worker(store: Store) -> None:
    mail = say_mail().within(TRACEPARENT)
    await create(store, first=mail)
    await store.admissions.deliver(CONTEXT_ID, "ada", mail, key="", digest="d")
    owned = await own(store)
    assert [one.mail.traceparent for one in owned.mail] == [TRACEPARENT] * 2


async def test_a_repeat_in_another_trace_is_the_same_request(store: Store) -> None:
    await create(store)
    for mail, repeated in ((say_mail(), False), (say_mail().within(TRACEPARENT), True)):
        receipt = await store.admissions.deliver(CONTEXT_ID, "ada", mail, key="k", digest="d")
        assert receipt.repeated is repeated


async def test_the_turn_s_trace_is_kept_by_commits_for_the_next_owner(store: Store) -> None:
    book = Playbook()
    await create(store, book.log[0])
    first = await own(store)
    assert first.trace == ""
    book.given(say())
    commit = next_commit(book, first, base=1)
    await store.ownership.commit(dataclasses.replace(commit, trace=f"m {TRACEPARENT}"))
    at = book.state.version
    book.given(say("More"))
    await store.ownership.commit(next_commit(book, first, base=at))  # as before
    await die(store, "w1")
    await live(store, "w2")
    second = await store.ownership.activate(CONTEXT_ID, "w2")
    assert second.trace == f"m {TRACEPARENT}"
    at = book.state.version
    book.given(say("And more"))
    await store.ownership.commit(
        dataclasses.replace(next_commit(book, second, base=at), trace="")
    )
    await die(store, "w2")
    assert (await own(store, "w3")).trace == ""


def test_a_mail_s_trace_is_no_part_of_what_it_asks() -> None:
    assert say_mail().within(None) == say_mail()
    assert say_mail().within(TRACEPARENT) == Mail(
        event=say_mail().event, traceparent=TRACEPARENT
    )
