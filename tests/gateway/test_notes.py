"""Notes that people upload."""

import re

import pytest

from tests.support.service import Answer, Client, Json, serving

NOTE_ID = "01932c5e-7a10-7c3b-9d2e-5f6071829304"


async def note(client: Client, text: str) -> Json:
    answer = await client.send("POST", "/api/notes", {"text": text})
    assert answer.status == 201, answer
    return answer.json


async def test_notes_are_kept_listed_in_pages_and_deleted(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        kept = [await note(service.client, f"note {number}") for number in range(5)]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", kept[0]["created_at"])
        listed: list[Json] = []
        path = "/api/notes?limit=2"
        for _ in range(3):
            page = await service.client.get(path)
            listed += page.json["notes"]
            link = re.match(r'<([^>]+)>; rel="next"', page.headers.get("Link", ""))
            path = link[1] if link else ""
        assert path == ""
        assert sorted(listed, key=lambda one: one["text"]) == kept
        gone = await service.client.send("DELETE", f"/api/notes/{kept[0]['id']}")
        assert (gone.status, gone.body) == (204, b"")
        again = await service.client.send("DELETE", f"/api/notes/{kept[0]['id']}")
        assert (again.status, again.problem) == (404, "not-found")
        left = (await service.client.get("/api/notes")).json["notes"]
        assert {one["text"] for one in left} == {f"note {number}" for number in range(1, 5)}


async def next_page(client: Client, page: Answer) -> Answer:
    link = re.match(r'<([^>]+)>; rel="next"', page.headers["Link"])
    assert link is not None
    return await client.get(link[1])


async def test_the_next_page_is_there_when_the_note_it_begins_behind_is_not(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0) as service:
        client = service.client
        for number in range(4):
            await note(client, f"note {number}")
        page = await client.get("/api/notes?limit=2")
        last = page.json["notes"][-1]
        rest = (await next_page(client, page)).json["notes"]
        assert len(rest) == 2

        await client.send("DELETE", f"/api/notes/{last['id']}")

        assert (await next_page(client, page)).json["notes"] == rest


async def test_a_page_is_as_long_as_the_server_allows_where_nobody_says_how_long(
    store_url: str,
) -> None:
    async with serving(store_url, workers=0, gateway={"list_max": 2}) as service:
        for number in range(3):
            await note(service.client, f"note {number}")
        page = await service.client.get("/api/notes")
        assert (page.status, len(page.json["notes"])) == (200, 2)


@pytest.mark.parametrize("text", ["", " \n", "x" * 16_001])
async def test_a_note_says_something_and_not_too_much(store_url: str, text: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("POST", "/api/notes", {"text": text})
        assert (answer.status, answer.problem) == (422, "invalid-body")


async def test_nobody_keeps_more_notes_than_the_server_allows(store_url: str) -> None:
    async with serving(store_url, workers=0, storage={"notes_max": 1}) as service:
        await note(service.client, "one")
        answer = await service.client.send("POST", "/api/notes", {"text": "two"})
        assert (answer.status, answer.problem) == (409, "too-many-notes")


@pytest.mark.parametrize("note_id", ["1", "..", f"{NOTE_ID}:x"])
async def test_what_is_no_note_is_not_found(store_url: str, note_id: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.send("DELETE", f"/api/notes/{note_id}")
        assert answer.status == 404


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "after=x", f"after={NOTE_ID}", f"after=1.{NOTE_ID}x"]
)
async def test_a_page_that_cannot_be_is_refused(store_url: str, query: str) -> None:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.get(f"/api/notes?{query}")
        assert (answer.status, answer.problem) == (400, "invalid-parameter")
