"""Notes: an owner's own, bounded, and never changed."""

import pytest

from storage import Notes, NotesFull, Store


async def test_notes_are_kept_oldest_first_and_are_the_owners_own(store: Store) -> None:
    notes = Notes(store.link, store.sealer, notes_max=10)
    for number in range(3):
        kept = await notes.add("ada", f"k{number}", f"note {number}, with a space")
        assert (kept.key, kept.text) == (f"k{number}", f"note {number}, with a space")
        assert [kept] == list(await notes.read("ada", [kept.key]))
    times = [note.written_at_ms for note in await notes.all("ada")]
    assert times == sorted(times)
    assert list((await notes.list("ada")).values()) == [
        f"note {number}, with a space" for number in range(3)
    ]
    assert await notes.keys_of("ada") == {"k0", "k1", "k2"}
    assert await notes.keys_of("bob") == frozenset()
    assert await notes.read("bob", ["k0"]) == []
    assert await notes.read("ada", []) == ()


@pytest.mark.parametrize("notes_max", [10, 1])
async def test_a_note_is_kept_once_under_its_key(store: Store, notes_max: int) -> None:
    notes = Notes(store.link, store.sealer, notes_max)
    await notes.add("ada", "k", "first")
    await notes.add("ada", "k", "second")
    assert await notes.list("ada") == {"k": "first"}


async def test_a_note_that_was_removed_is_gone(store: Store) -> None:
    notes = Notes(store.link, store.sealer, notes_max=10)
    await notes.add("ada", "k", "first")
    assert not await notes.remove("bob", "k")
    assert await notes.remove("ada", "k")
    assert not await notes.remove("ada", "k")
    assert await notes.list("ada") == {}


async def test_nobody_keeps_more_notes_than_allowed(store: Store) -> None:
    notes = Notes(store.link, store.sealer, notes_max=2)
    await notes.add("ada", "1", "one")
    await notes.add("ada", "2", "two")
    with pytest.raises(NotesFull):
        await notes.add("ada", "3", "three")
    await notes.add("bob", "3", "three")
    assert await notes.keys_of("ada") == {"1", "2"}
