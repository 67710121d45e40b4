"""Notes that people upload for searches to find; the notes tool writes into the same."""

from aiohttp import web
from uuid_utils import uuid7

from gateway.answers import json_response
from gateway.app import GATEWAY, Gateway
from gateway.bodies import AddNote
from gateway.history import next_page, read_limit
from gateway.parameters import AFTER_NOTE, LIMIT, note_id_of, read_note_place
from gateway.problems import Problem
from gateway.reading import read_body
from storage import Note, Notes, rfc3339


async def list_notes(request: web.Request) -> web.StreamResponse:
    """The owner's notes, newest first."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    after = read_note_place(request, AFTER_NOTE.name)
    kept = await _notes(gateway).all(gateway.owner_of(request))
    notes = [note for note in reversed(kept) if after is None or note.place < after]
    headers: dict[str, str] = {}
    if len(notes) > limit:
        written_at_ms, key = notes[limit - 1].place
        query = {LIMIT.name: str(limit), AFTER_NOTE.name: f"{written_at_ms}.{key}"}
        headers["Link"] = next_page(request, query)
    return json_response({"notes": [_shown(note) for note in notes[:limit]]}, headers=headers)


async def add_note(request: web.Request) -> web.StreamResponse:
    """Keep a note."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, AddNote, depth_max=gateway.config.json_depth_max)
    if not body.text.strip():
        raise Problem("invalid-body", "text: write something; it is empty.")
    owner = gateway.owner_of(request)
    note = await _notes(gateway).add(owner, str(uuid7()), body.text)
    return json_response(_shown(note), status=201)


async def delete_note(request: web.Request) -> web.StreamResponse:
    """Forget a note."""
    gateway = request.app[GATEWAY]
    if not await _notes(gateway).remove(gateway.owner_of(request), note_id_of(request)):
        raise Problem("not-found", "Note not found")
    return web.Response(status=204)


def _notes(gateway: Gateway) -> Notes:
    store = gateway.store
    return Notes(store.link, store.sealer, store.config.notes_max)


def _shown(note: Note) -> dict[str, str]:
    return {"id": note.key, "text": note.text, "created_at": rfc3339(note.written_at_ms)}
