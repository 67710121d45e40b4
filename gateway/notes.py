"""Notes that people upload for searches to find; the notes tool writes into the same."""

import orjson
from aiohttp import web
from uuid_utils import uuid7

from gateway.app import GATEWAY, Gateway
from gateway.bodies import AddNote, read_body
from gateway.parameters import AFTER_NOTE, LIMIT, note_id_of, read_note_id, read_whole
from gateway.problems import Problem
from storage import Note, Notes, rfc3339

LIMIT_DEFAULT = 50


async def list_notes(request: web.Request) -> web.StreamResponse:
    """The owner's notes, newest first."""
    gateway = request.app[GATEWAY]
    limit, after = read_whole(request, LIMIT.name), read_note_id(request, AFTER_NOTE.name)
    if limit is None:
        limit = LIMIT_DEFAULT
    if not 1 <= limit <= gateway.config.list_max:
        raise Problem("invalid-parameter", f"limit takes 1 to {gateway.config.list_max}.")
    notes = list(await _notes(gateway).all(gateway.owner_of(request)))[::-1]
    if after is not None:
        place = next((i for i, note in enumerate(notes) if note.key == after), len(notes))
        notes = notes[place + 1 :]
    headers: dict[str, str] = {}
    if len(notes) > limit:
        query = f"limit={limit}&after={notes[limit - 1].key}"
        headers["Link"] = f'<{request.path}?{query}>; rel="next"'
    return web.Response(
        body=orjson.dumps({"notes": [_shown(note) for note in notes[:limit]]}),
        headers=headers,
        content_type="application/json",
    )


async def add_note(request: web.Request) -> web.StreamResponse:
    """Keep a note."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, AddNote, depth_max=gateway.config.json_depth_max)
    if not body.text.strip():
        raise Problem("invalid-body", "text: write something; it is empty.")
    owner = gateway.owner_of(request)
    note = await _notes(gateway).add(owner, str(uuid7()), body.text)
    return web.Response(
        status=201, body=orjson.dumps(_shown(note)), content_type="application/json"
    )


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
