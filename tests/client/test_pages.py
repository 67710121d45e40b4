"""Lists are asked for page by page."""

from contextd_client import Contextd
from tests.client.made_up_server import MadeUpServer, says
from tests.client.patience import impatient
from tests.support.service import serving


async def test_all_contexts_come_newest_first_whatever_the_page(store_url: str) -> None:
    async with serving(store_url, workers=0) as service, Contextd(service.client.url) as client:
        made = [(await client.create(title=f"{n}")).id for n in range(7)]
        found = [summary async for summary in client.contexts()]
        assert [summary.id for summary in found] == made[::-1]
        assert (found[0].title, found[0].status, found[0].version) == ("6", "idle", 1)
        for per_page in (1, 3, 7):
            assert [one async for one in client.contexts(per_page=per_page)] == found


async def test_pages_are_asked_for_as_they_are_taken_and_nowhere_else() -> None:
    link = '<https://elsewhere.example/api/contexts?limit=2&after=b>; rel="next"'
    first = says(
        200, {"contexts": [{"id": "a"}, {"id": "b"}], "unreadable": ["lost"]}, Link=link
    )
    server = MadeUpServer([first, says(200, {"contexts": [{"id": "c"}]})])
    async with server.served() as url, impatient(url) as client:
        contexts = client.contexts(per_page=2)
        assert [(await anext(contexts)).id, (await anext(contexts)).id] == ["a", "b"]
        assert len(server.asked) == 1
        assert [summary.id async for summary in contexts] == ["c"]
    assert [asked.path for asked in server.asked] == [
        "/api/contexts?limit=2",
        "/api/contexts?limit=2&after=b",
    ]
