"""Contents that are encrypted where they are kept: what opens them, and what does not."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Final, cast

import pytest

from fsm import MessageReceived
from runtime.leaves import leaves
from storage import (
    CannotOpen,
    CommitFrame,
    ContextUnreadable,
    DeadLetter,
    DeadLetters,
    Draft,
    DraftFrame,
    EncryptionMismatch,
    Mail,
    Notes,
    Notice,
    Owned,
    Store,
    decode_frame,
    keys,
)
from storage.keyring import Keyring, read_keyring
from storage.sealing import Sealer
from storage.snapshots import JsonSnapshots
from tests.storage.arranging import (
    APPLIED,
    append,
    create,
    created,
    deliver,
    listening,
    live,
    next_commit,
    own,
    say_mail,
)
from tests.storage.conftest import Backend
from tests.storage.test_commit import everything
from tests.support.playbook import (
    BEGAN_MS,
    CONTEXT_ID,
    STARTED,
    Playbook,
    rename,
    replied,
    say,
)

OTHER: Final = "01890a5d-ac96-774b-bcce-b302099a8057"
CANARY: Final = "kestrel"
KEYS: Final = {name: bytes([number] * 32) for number, name in enumerate(("old", "new"), 1)}


def key_file(folder: Path, *names: str) -> str:
    """A file of these keys, as a setting names it."""
    path = folder / f"{'-'.join(names)}.keys"
    lines = (f"{name} {base64.b64encode(KEYS[name]).decode()}\n" for name in names)
    path.write_text("# name and key\n\n" + "".join(lines))
    return f"file:{path}"


async def refusal(backend: Backend, encryption: str | None) -> str:
    """Why a store does not open with these keys."""
    with pytest.raises((ExceptionGroup, EncryptionMismatch)) as refused:
        async with backend.connect(encryption=encryption) as store:
            await create(store)
    (error,) = [one for one in leaves(refused.value) if isinstance(one, EncryptionMismatch)]
    return str(error)


async def converse(store: Store) -> Owned:
    """A context that has one of everything in it, the canary in each; owned by `w1`."""
    book = Playbook()
    await create(store, book.log[0], first=say_mail(f"{CANARY} first"))
    await deliver(store, f"{CANARY} second")
    owned = await own(store)
    book.given(rename(f"{CANARY} title"), say(f"{CANARY} question"), STARTED)
    result = APPLIED.model_copy(update={"detail": f"{CANARY} result"})
    mail = Mail(event=MessageReceived(at_ms=BEGAN_MS, content=f"{CANARY} poison"))
    letter = DeadLetter(
        id=f"{CONTEXT_ID}.9",
        context_id=CONTEXT_ID,
        owner="ada",
        at_ms=BEGAN_MS,
        cause=f"{CANARY} cause",
        mail=mail,
    )
    notice = Notice(
        version=4,
        at_ms=BEGAN_MS,
        owner="ada",
        status="idle",
        occasions=("turn-rested",),
        event={"said": f"{CANARY} notice"},
    )
    commit = next_commit(
        book,
        owned,
        base=1,
        acknowledged=1,
        results={1: result},
        draft=Draft("start", n=len(f"{CANARY} draft"), text=f"{CANARY} draft"),
        snapshot=True,
        letter=letter,
    )
    await store.ownership.commit(replace(commit, notices=(notice,)))
    await append(store, owned, len(f"{CANARY} draft"), f" ~{CANARY}", version=4)
    notes = Notes(store.link, store.sealer, notes_max=10)
    await notes.add("ada", "n", f"{CANARY} note")
    return owned


async def test_nothing_that_was_said_can_be_read_in_the_store(
    backend: Backend, tmp_path: Path
) -> None:
    async with (
        backend.connect(encryption=key_file(tmp_path, "new")) as store,
        listening(store) as ear,
    ):
        await converse(store)
        heard = await ear.hears(2)
        frame, more = (decode_frame(store.sealer, CONTEXT_ID, raw) for raw in heard)
        assert isinstance(frame, CommitFrame)
        assert (frame.draft, frame.results[1].detail) == (f"{CANARY} draft", f"{CANARY} result")
        assert isinstance(more, DraftFrame)
        assert more.text == f" ~{CANARY}"
        kept = repr((heard, await everything(store)))
        assert CANARY not in kept
        # Base64 has three forms of a text, by where it begins.
        for shift in range(3):
            inside = base64.b64encode(b"x" * shift + CANARY.encode() + b"xx")[4:-4].decode()
            assert inside not in kept
        reading = await store.read(CONTEXT_ID, "ada", seq=1)
        assert reading.view is not None
        assert reading.view.draft == f"{CANARY} draft ~{CANARY}"
        assert reading.view.state.title == f"{CANARY} title"
        assert reading.result is not None
        assert reading.result.detail == f"{CANARY} result"
        ((_, summary),) = await store.contexts("ada", limit=9, after=None)
        assert summary is not None
        assert summary.title == f"{CANARY} title"
        (letter,) = (await DeadLetters(store.link, store.sealer).page(9)).letters
        assert letter.cause == f"{CANARY} cause"
        notice = await store.webhooks.first(CONTEXT_ID)
        assert notice is not None
        assert notice[0].event == {"said": f"{CANARY} notice"}
        (waiting,) = await store.undelivered(CONTEXT_ID)
        assert isinstance(waiting.mail.event, MessageReceived)
        assert waiting.mail.event.content == f"{CANARY} second"
        notes = Notes(store.link, store.sealer, notes_max=10)
        assert await notes.list("ada") == {"n": f"{CANARY} note"}
        again = await store.ownership.activate(CONTEXT_ID, "w1")
        assert (again.state, again.draft) == (reading.view.state, reading.view.draft)


async def test_a_notice_that_is_put_back_twice_is_told_once(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        await converse(store)
        found = await store.webhooks.first(CONTEXT_ID)
        assert found is not None
        for _ in range(2):
            await store.webhooks.put_back(CONTEXT_ID, found[0])
        assert await store.webhooks.told(CONTEXT_ID, found[0], again_ms=0) == 0


async def test_with_other_keys_nothing_is_read_and_nothing_is_written(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "old")) as store:
        await converse(store)
        before = await everything(store)
    assert "other keys" in await refusal(backend, key_file(tmp_path, "new"))
    assert "CONTEXTD_ENCRYPTION" in await refusal(backend, None)
    async with backend.connect(encryption=key_file(tmp_path, "old")) as store:
        after = await everything(store)
    assert {**after, keys.SEALED: b""} == {**before, keys.SEALED: b""}


async def test_keys_are_rotated_and_the_oldest_is_given_up(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "old")) as store:
        await create(store)
    async with backend.connect(encryption=key_file(tmp_path, "new", "old")) as store:
        assert (await store.read(CONTEXT_ID, "ada")).version == 1
        await create(store, created(OTHER))
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        assert (await store.read(OTHER, "ada")).version == 1
        with pytest.raises(CannotOpen, match="'old'"):
            await store.read(CONTEXT_ID, "ada")
    assert "other keys" in await refusal(backend, key_file(tmp_path, "old"))


async def test_what_was_moved_to_another_context_does_not_open(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        await create(store)
        await create(store, created(OTHER, owner="eve"))
        (ours,), (theirs,) = (keys.of_context(one, "log") for one in (CONTEXT_ID, OTHER))
        ((_, (_, event)),) = cast(
            "list[tuple[bytes, list[bytes]]]", await store.link.call("XRANGE", ours, "-", "+")
        )
        await store.link.call("DEL", theirs)
        await store.link.call("XADD", theirs, "1-0", "e", event)
        with pytest.raises(CannotOpen):
            await store.read(OTHER, "eve")
        with pytest.raises(ContextUnreadable):
            await store.logs.events(OTHER, after=0, until=1)
        await live(store, "w1")
        with pytest.raises(ContextUnreadable):
            await store.ownership.activate(OTHER, "w1")


@pytest.mark.parametrize("encrypted_first", [True, False])
async def test_what_is_not_encrypted_counts_only_where_the_store_held_such_before(
    backend: Backend, tmp_path: Path, *, encrypted_first: bool
) -> None:
    encryption = key_file(tmp_path, "new")
    async with backend.connect(encryption=encryption if encrypted_first else None) as store:
        await create(store, created(OTHER))
    async with backend.connect(encryption=encryption) as store:
        (log,) = keys.of_context(OTHER, "log")
        await store.link.call("DEL", log)
        event = created(OTHER).model_dump_json()
        await store.link.call("XADD", log, "1-0", "e", event)
        if encrypted_first:
            with pytest.raises(CannotOpen):
                await store.read(OTHER, "ada")
        else:
            assert (await store.read(OTHER, "ada")).version == 1


async def test_notes_that_were_there_before_any_context_stay_readable(
    backend: Backend, tmp_path: Path
) -> None:
    async with backend.connect() as store:
        await Notes(store.link, store.sealer, notes_max=10).add("ada", "n", "a note")
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        notes = Notes(store.link, store.sealer, notes_max=10)
        assert await notes.list("ada") == {"n": "a note"}


async def test_a_snapshot_file_holds_nothing_readable(backend: Backend, tmp_path: Path) -> None:
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        await converse(store)
        reading = await store.read(CONTEXT_ID, "ada")
        assert reading.view is not None
        files = JsonSnapshots(tmp_path / "snapshots", store.sealer)
        files.save(reading.view.state, store.epoch)
        text = files.path(CONTEXT_ID).read_text()
        assert CANARY not in text
        assert files.load(CONTEXT_ID, store.epoch) == reading.view.state
        # One that was moved, or is not encrypted, is as good as none: there is the log.
        other = files.path(OTHER)
        other.parent.mkdir(exist_ok=True)
        other.write_text(text.replace(CONTEXT_ID, OTHER))
        assert files.load(OTHER, store.epoch) is None
        JsonSnapshots(files.folder, Sealer(None)).save(reading.view.state, store.epoch)
        files.path(CONTEXT_ID).with_suffix(".previous").unlink()
        assert files.load(CONTEXT_ID, store.epoch) is None


async def test_a_base_is_encrypted_too(backend: Backend, tmp_path: Path) -> None:
    book = Playbook()
    async with backend.connect(encryption=key_file(tmp_path, "new")) as store:
        await create(store, book.log[0])
        owned = await own(store)
        book.given(say(f"{CANARY} question"), STARTED, replied(f"{CANARY} answer"))
        await store.ownership.commit(next_commit(book, owned, base=1))
        await store.logs.compact(owned.token, book.state, first=book.state.version + 1)
        assert CANARY not in repr(await everything(store))
        assert await store.logs.base(CONTEXT_ID) == book.state
        reading = await store.read(CONTEXT_ID, "ada")
        assert reading.view is not None
        assert reading.view.state == book.state


def test_a_sealed_value_is_one_line_and_no_text() -> None:
    sealer = Sealer(Keyring({"k": KEYS["new"]}))
    for length in range(200):
        sealed = sealer.seal("event", "c", b"\n\xff" * length)
        assert b"\n" not in sealed
        assert sealer.open("event", "c", sealed) == b"\n\xff" * length
    assert sealer.seal("event", "c", b"same") != sealer.seal("event", "c", b"same")


def test_what_an_earlier_version_has_sealed_still_opens() -> None:
    kept = b"\xffayAAAQIDBAUGBwgJCgsZGGs63I/ZTH+tVvS7uTYNMNLgVxi2ng=="
    assert Sealer(Keyring({"k": KEYS["new"]})).open("event", "c", kept) == b"kestrel"


def test_without_keys_what_is_sealed_is_not_taken_for_what_was_said() -> None:
    sealed = Sealer(Keyring({"k": KEYS["new"]})).seal("event", "c", b"content")
    with pytest.raises(CannotOpen, match="CONTEXTD_ENCRYPTION is not set"):
        Sealer(None).open("event", "c", sealed)


@pytest.mark.parametrize("at", [0, 5, 17, -3, -1])
def test_a_byte_that_was_changed_is_noticed(at: int) -> None:
    ring = Keyring({"k": KEYS["new"]})
    sealed = bytearray(ring.seal(b"content", b"about"))
    sealed[at] ^= 1
    with pytest.raises(CannotOpen):
        ring.open(bytes(sealed), b"about")
    with pytest.raises(CannotOpen):
        ring.open(ring.seal(b"content", b"about"), b"other")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no key"),
        ("k AAAA", "line 1"),
        ("\n# x\nk", "line 3"),
        ("k " + "A" * 43 + "=\nk " + "A" * 43 + "=", "line 2"),
        ("k \u00e9", "line 1"),
    ],
)
def test_a_file_of_keys_that_cannot_be_used_says_where(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(EncryptionMismatch, match=why) as refused:
        read_keyring(path)
    assert "AAAA" not in str(refused.value)


async def test_a_cipher_that_nobody_brings_is_refused(backend: Backend, tmp_path: Path) -> None:
    assert "installed" in await refusal(backend, "vault:transit")
    assert "cannot be read" in await refusal(backend, f"file:{tmp_path / 'none'}")
