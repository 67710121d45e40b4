"""The description of the API is valid, complete and true; the pages about it work offline."""

import re
from pathlib import Path

import openapi_spec_validator
import orjson
import pytest
from pydantic import TypeAdapter

from fsm import EVENT_TYPES
from gateway.kinds import KINDS
from gateway.openai.errors import speaks_openai, status_of
from gateway.pages import ASSETS, STATIC
from gateway.problem_types import EVERYWHERE, TYPES
from tests.support.routes import SERVED
from tests.support.service import Json, serving

METHODS = {"get", "post", "put", "patch", "delete", "head", "options"}


async def fetch(store_url: str) -> Json:
    async with serving(store_url, workers=0) as service:
        answer = await service.client.get("/openapi.json")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
        again = await service.client.get("/openapi.json", If_None_Match=answer.headers["ETag"])
        assert (again.status, again.body) == (304, b"")
        return answer.json


@pytest.mark.parametrize("form", ["W/{}", '"x", {}', "*"])
@pytest.mark.parametrize("path", ["/openapi.json", "/asyncapi.json"])
async def test_a_description_that_the_client_has_is_not_sent_again(
    store_url: str, path: str, form: str
) -> None:
    async with serving(store_url, workers=0) as service:
        etag = (await service.client.get(path)).headers["ETag"]
        assert re.fullmatch(r'"[0-9a-f]{24}"', etag)
        again = await service.client.get(path, If_None_Match=form.format(etag))
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", etag)
        other = await service.client.get(path, If_None_Match='"x"')
        assert other.status == 200


def operations(document: Json) -> dict[str, Json]:
    """Operations by `METHOD path`."""
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


async def test_the_description_is_valid_openapi_3_1(store_url: str) -> None:
    document = await fetch(store_url)
    assert document["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(document)


async def test_whatever_the_description_refers_to_is_there(store_url: str) -> None:
    document = await fetch(store_url)
    named = set(re.findall(rb'"#/components/schemas/([^"]+)"', orjson.dumps(document)))
    assert {name.decode() for name in named} <= document["components"]["schemas"].keys()


async def test_every_route_is_described_once_and_no_alias(store_url: str) -> None:
    described = set(operations(await fetch(store_url)))
    routed = {f"{route.method} {route.paths[0]}" for route in SERVED if route.name != "act"}
    acts = {f"POST /api/contexts/{{id}}/actions/{kind}" for kind in KINDS}
    pages = {
        *("GET /openapi.json", "GET /asyncapi.json", "GET /docs", "GET /docs/{name}"),
        *("GET /", "GET /dashboard", "GET /assets/{name}"),
    }
    assert described == (routed - pages) | acts


async def test_every_status_names_its_problems_and_every_problem_has_a_status(
    store_url: str,
) -> None:
    document = await fetch(store_url)
    for name, operation in operations(document).items():
        for problem in operation["x-problems"]:
            openai = speaks_openai(name.partition(" ")[2])
            status = status_of(problem) if openai else TYPES[problem].status
            assert str(status) in operation["responses"], (name, problem)
    named = {p for op in operations(document).values() for p in op["x-problems"]}
    assert named == set(TYPES) - EVERYWHERE
    content = document["components"]["responses"]["409"]["content"]
    assert list(content) == ["application/problem+json"]


async def test_every_event_of_the_log_is_described(store_url: str) -> None:
    document = await fetch(store_url)
    events = document["components"]["schemas"]["EventStream"]["x-events"]
    assert set(events) == {
        *EVENT_TYPES,
        *("hello", "snapshot", "reply-delta", "reset", "bye"),
    }
    for kind, event in EVENT_TYPES.items():
        schema = document["components"]["schemas"][events[kind]["$ref"].split("/")[-1]]
        own = TypeAdapter(event).json_schema()
        assert set(schema["properties"]) == set(own["properties"])
        assert schema["properties"]["kind"]["const"] == kind


async def test_headers_are_described_where_they_are_read(store_url: str) -> None:
    described = operations(await fetch(store_url))

    def named(operation: str) -> set[str]:
        parameters: list[Json] = described[operation].get("parameters", [])
        return {parameter["name"] for parameter in parameters if parameter["in"] == "header"}

    for kind in KINDS:
        path = f"POST /api/contexts/{{id}}/actions/{kind}"
        assert named(path) == {"Idempotency-Key", "If-Match", "Prefer"}
    assert named("POST /api/contexts") == {"Idempotency-Key", "Prefer"}
    assert named("GET /api/contexts/{id}/state") == {
        *("If-None-Match", "Prefer", "Cache-Control"),
    }
    assert named("GET /api/contexts/{id}/events") == {"Last-Event-ID"}


async def test_headers_of_answers_are_described(store_url: str) -> None:
    described = operations(await fetch(store_url))

    def named(operation: str, status: int) -> set[str]:
        return set(described[operation]["responses"][str(status)].get("headers", {}))

    state, old = "GET /api/contexts/{id}/state", "PUT /api/contexts/{id}"
    assert named(state, 304) >= {"ETag", "Contextd-Stale"}
    assert named(state, 200) >= {"ETag", "Poll-After-Ms", "Link", "Contextd-Stale"}
    for status in (200, 202):
        assert named(old, status) >= {"Deprecation", "Sunset", "Link", "ETag"}
        acted = named("POST /api/contexts/{id}/actions/pause", status)
        assert acted >= {"ETag", "Idempotent-Replayed", "Preference-Applied"}
    assert named("POST /api/contexts", 201) >= {"ETag", "Location"}
    for page in ("GET /api/contexts", "GET /api/notes", "GET /api/contexts/{id}/log"):
        assert "Link" in named(page, 200), page


async def test_answers_are_described_by_their_models(store_url: str) -> None:
    described = operations(await fetch(store_url))
    for operation, status, model in (
        ("GET /readyz", 200, "Readiness"),
        ("GET /readyz", 503, "Readiness"),
        ("POST /admin/restart", 200, "RestartAccepted"),
        ("GET /admin/restarts/{restart_id}", 200, "RestartReport"),
        ("GET /admin/retention", 200, "RetentionPlan"),
        ("POST /api/notes", 201, "NoteView"),
    ):
        content = described[operation]["responses"][str(status)]["content"]
        assert content["application/json"]["schema"] == {
            "$ref": f"#/components/schemas/{model}"
        }


async def test_the_docs_page_loads_its_own_files_and_nothing_else(store_url: str) -> None:
    async with serving(store_url, workers=0) as service:
        page = await service.client.get("/docs")
        assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        html = page.body.decode()
        assert "<script>" not in html
        assert "http" not in html.replace("http-equiv", "")
        linked = re.findall(r'(?:src|href)="(/docs/[^"]+)"', html)
        assert {path.split("?")[0].removeprefix("/docs/") for path in linked} == set(ASSETS)
        for path in linked:
            asset = await service.client.get(path)
            assert asset.status == 200
            assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            assert asset.headers["X-Content-Type-Options"] == "nosniff"
            name = path.split("?")[0].removeprefix("/docs/")
            assert asset.headers["Content-Type"].split(";")[0] == ASSETS[name]
            assert asset.body == (STATIC / name).read_bytes()
            plain = await service.client.get(path.split("?")[0])
            assert plain.headers["Cache-Control"] == "no-cache"


def test_the_licence_of_the_docs_page_is_beside_it() -> None:
    assert "Apache License" in (STATIC / "LICENSE").read_text()
    assert (STATIC / "NOTICE").read_text()
    assert (STATIC / "swagger-ui-bundle.js.LICENSE.txt").read_text()


@pytest.mark.parametrize("name", TYPES)
async def test_every_problem_type_is_explained_to_programs_and_to_people(
    store_url: str, name: str
) -> None:
    async with serving(store_url, workers=0) as service:
        known = TYPES[name]
        told = await service.client.get(f"/problems/{name}")
        assert orjson.loads(told.body) == {
            "type": f"/problems/{name}",
            "title": known.title,
            "status": known.status,
            "advice": known.advice,
        }
        page = await service.client.get(f"/problems/{name}", Accept="text/html,*/*;q=0.8")
        assert page.headers["Content-Type"] == "text/html; charset=utf-8"
        assert f"<h1>{known.title}</h1>" in page.body.decode()
        assert {told.headers["Vary"], page.headers["Vary"]} == {"Accept"}


def test_the_page_about_the_api_names_every_address_action_and_problem() -> None:
    page = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text()
    pages = {"openapi", "asyncapi", "docs", "docs_asset"}
    for route in SERVED:
        if route.name not in pages:
            assert f"`{route.method} {route.paths[0]}`" in page
    rows = re.findall(r"^\| (.+?) \|", page, flags=re.MULTILINE)
    assert set(KINDS) <= {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    problems = page[page.index("## Problems") :]
    listed = {
        name: int(status)
        for names, status in re.findall(r"^\| (.+?) \| (\d+) \|$", problems, flags=re.MULTILINE)
        for name in re.findall(r"`([\w-]+)`", names)
    }
    assert listed == {name: known.status for name, known in TYPES.items()}
