"""The OpenAPI 3.1 description, made of the route table and the models that handlers use.

One path per action, the canonical addresses only: an alias would be the same twice.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, JsonSchemaValue, models_json_schema

from fsm import EVENT_TYPES, Config
from gateway.admin_views import AuditPage, RestartAccepted, RestartReport, RetentionPlan
from gateway.chat import MODES
from gateway.kinds import KINDS, Kind
from gateway.openai.errors import speaks_openai, status_of
from gateway.openai.operations import OPENAI_OPERATIONS, REQUEST_ID
from gateway.openai.views import OPENAI_VIEWS
from gateway.operation import Answer, Header, Operation
from gateway.operations import OPERATIONS, RATE_HEADERS
from gateway.parameters import (
    ACTION_ID_SCHEMA,
    ID_SCHEMA,
    LETTER_ID_SCHEMA,
    MESSAGE_ID_SCHEMA,
    NOTE_ID_SCHEMA,
    RESTART_ID_SCHEMA,
    SESSION_ID_SCHEMA,
)
from gateway.problem_types import TYPES
from gateway.route import Route
from gateway.stream_views import (
    ByeData,
    ChatChunk,
    EventsPage,
    HelloData,
    ReplyDeltaData,
    ResetData,
)
from gateway.views import (
    ActionResponse,
    ActionStatus,
    ChatAnswer,
    ContextExport,
    ContextList,
    ContextView,
    LimitsView,
    Liveness,
    LogPage,
    MessageList,
    MessageView,
    NoteList,
    NoteView,
    ProblemDocument,
    ProblemTypeView,
    Readiness,
    TicketView,
    TitleView,
    TurnList,
    View,
)

Json = dict[str, Any]
"""A piece of the document: JSON, nested as OpenAPI says."""

_VIEWS: Final[tuple[type[View], ...]] = (
    *(ActionResponse, ActionStatus, ByeData, ContextList, ContextView, EventsPage, HelloData),
    *(Liveness, ProblemDocument, ProblemTypeView, Readiness, ReplyDeltaData, ResetData),
    *(AuditPage, RestartAccepted, RestartReport, RetentionPlan),
    *(ContextExport, LogPage, MessageList, MessageView, TurnList),
    *(ChatAnswer, ChatChunk, LimitsView, NoteList, NoteView, TicketView, TitleView),
    *OPENAI_VIEWS,
)
OWN_FRAMES: Final[Mapping[str, type[View]]] = {
    "hello": HelloData,
    "snapshot": ContextView,
    "reply-delta": ReplyDeltaData,
    "reset": ResetData,
    "bye": ByeData,
}
"""What streams show besides the events of the log."""

_PATCH: Final = "ConfigPatch"
_OPENAI_ERROR: Final = "openai-error"
_PATH_SCHEMAS: Final = {
    "id": ID_SCHEMA,
    "action_id": ACTION_ID_SCHEMA,
    "letter_id": LETTER_ID_SCHEMA,
    "message_id": MESSAGE_ID_SCHEMA,
    "restart_id": RESTART_ID_SCHEMA,
    "session_id": SESSION_ID_SCHEMA,
    "note_id": NOTE_ID_SCHEMA,
    "mode": {"type": "string", "enum": list(MODES)},
    "model": {"type": "string"},
    "response_id": {"type": "string"},
    "conversation_id": {"type": "string"},
    "name": {"type": "string", "enum": list(TYPES)},
}
_ONE_EVENT: Final[Json] = {
    "type": "object",
    "properties": {
        "event": {"type": "string"},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["data"],
}
"""Of a stream of OpenAI's: its fields."""
_INTRODUCTION: Final = (
    "A context (one conversation) lives on the server: clients send actions and read state. "
    "Errors are `application/problem+json` (RFC 9457); `/problems/<name>` explains each type. "
    "`/v1/contexts...` is the same as `/api/contexts...`. Where the operator limits rates, "
    "every answer to a request that counts has the headers RateLimit-Policy and RateLimit."
)


def describe(routes: Sequence[Route]) -> Json:
    """The document for these routes."""
    paths: dict[str, Json] = {}
    for route in routes:
        operation = _described(route)
        if operation is None:
            continue
        if route.name == "act":
            for name, kind in KINDS.items():
                path = route.paths[0].replace("{action}", name)
                paths.setdefault(path, {})["post"] = _action(route, operation, name, kind)
        else:
            entry = paths.setdefault(route.paths[0], {})
            entry[route.method.lower()] = _operation(route, operation)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "contextd",
            "version": own_version(),
            "description": _INTRODUCTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "The gateway that served this page."}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key, `ctxd_...` (`contextd keys create`).",
                }
            },
            "schemas": _schemas(routes),
            "responses": {
                **{str(status): _problem(status) for status in _statuses()},
                _OPENAI_ERROR: _openai_error(),
            },
        },
    }


def _described(route: Route) -> Operation | None:
    """What is said of an address; pages are not described."""
    own = OPERATIONS.get(route.name) or OPENAI_OPERATIONS.get(route.name)
    return own or route.operation


def _action(route: Route, operation: Operation, name: str, kind: Kind) -> Json:
    shown = _operation(route, operation, more_problems=kind.refusals)
    schema = _PATCH if kind.body is Config else kind.body.__name__
    content = {"application/json": {"schema": _ref(schema)}}
    if kind.body is Config:
        content["application/merge-patch+json"] = {"schema": _ref(schema)}
    required = TypeAdapter(kind.body).json_schema().get("required")
    return shown | {
        "operationId": name,
        "summary": kind.summary,
        "requestBody": {"required": bool(required), "content": content},
    }


def _operation(
    route: Route, operation: Operation, *, more_problems: Iterable[str] = ()
) -> Json:
    problems = {"internal", "invalid-parameter", *operation.problems, *more_problems}
    if not route.is_public:
        problems |= {"unauthorized", "rate-limited"}
    if route.scope is not None:
        problems.add("forbidden")
    if route.is_stream:
        problems.add("too-many-streams")
    if "{id}" in route.path and route.under_contexts:
        problems |= {"gone", "unreadable"}
    responses: Json = {
        str(status): _answer(answer) for status, answer in operation.answers.items()
    }
    openai = speaks_openai(route.paths[0])
    for status in sorted(
        {status_of(name) if openai else TYPES[name].status for name in problems}
    ):
        shared = {"$ref": f"#/components/responses/{_OPENAI_ERROR if openai else status}"}
        responses.setdefault(str(status), shared)
    path_names = [part[1:-1] for part in route.paths[0].split("/") if part.startswith("{")]
    parameters: list[Json] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_SCHEMAS[name]}
        for name in path_names
        if name in _PATH_SCHEMAS
    ]
    parameters += [
        {
            "name": parameter.name,
            "in": "query",
            "description": parameter.description,
            "schema": parameter.schema,
        }
        for parameter in route.query
    ]
    parameters += [{"in": "header"} | _header(header) for header in operation.headers]
    shown: Json = {
        "operationId": route.name,
        "summary": operation.summary,
        "tags": [_tag(route)],
        "responses": responses,
        "x-problems": {name: f"/problems/{name}" for name in sorted(problems)},
    }
    if not route.is_public:
        shown["security"] = [{"key": [route.scope] if route.scope else []}]
    if route.is_deprecated:
        shown["deprecated"] = True
    if operation.description:
        shown["description"] = operation.description
    if parameters:
        shown["parameters"] = parameters
    if operation.body is not None:
        content = {"application/json": {"schema": _ref(operation.body.__name__)}}
        shown["requestBody"] = {"required": False, "content": content}
    return shown


def _header(header: Header) -> Json:
    return {
        "name": header.name,
        "description": header.description,
        "schema": header.schema,
    }


def _headers(headers: Sequence[Header]) -> Json:
    """Of an answer."""
    return {
        header.name: {"description": header.description, "schema": header.schema}
        for header in headers
    }


def _tag(route: Route) -> str:
    if route.path.startswith(("/api/chat/", "/api/notes")):
        return "chat"
    if speaks_openai(route.paths[0]):
        return "openai"
    if not route.under_contexts and route.name != "get_action":
        return "operations"
    return "state" if route.method == "GET" else "actions"


def _answer(answer: Answer) -> Json:
    shown: Json = {"description": answer.description}
    if answer.headers:
        shown["headers"] = _headers(answer.headers)
    if answer.content_type == "text/event-stream":
        shown["content"] = {answer.content_type: {"schema": _ref(answer.stream)}}
    elif answer.models:
        refs = [_ref(model.__name__) for model in answer.models]
        schema = refs[0] if len(refs) == 1 else {"anyOf": refs}
        shown["content"] = {answer.content_type: {"schema": schema}}
        if answer.streams:
            shown["content"]["text/event-stream"] = {"schema": _ONE_EVENT}
    return shown


def _statuses() -> list[int]:
    return sorted({known.status for known in TYPES.values()})


def _problem(status: int) -> Json:
    names = [name for name, known in TYPES.items() if known.status == status]
    listed = "; ".join(f"`{name}`: {TYPES[name].title}" for name in names)
    shown: Json = {
        "description": f"{listed}.",
        "content": {"application/problem+json": {"schema": _ref("ProblemDocument")}},
    }
    if status in {429, 503}:
        retry = {"description": "Seconds to wait.", "schema": {"type": "string"}}
        shown["headers"] = {"Retry-After": retry}
    if status == 429:
        shown["headers"] |= _headers(RATE_HEADERS)
    if status == 405:
        shown["headers"] = {"Allow": {"description": "Methods.", "schema": {"type": "string"}}}
    return shown


def _openai_error() -> Json:
    content = {"application/json": {"schema": _ref("OpenAIError")}}
    return {
        "description": "An error, as OpenAI's clients know it.",
        "headers": _headers((REQUEST_ID,)),
        "content": content,
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(routes: Sequence[Route]) -> dict[str, JsonSchemaValue]:
    """Schemas of every body, answer and event, by name."""
    brought = [route.operation for route in routes if route.operation is not None]
    operations = (*OPERATIONS.values(), *OPENAI_OPERATIONS.values(), *brought)
    shown: dict[type[BaseModel], JsonSchemaMode] = {
        operation.body: "validation" for operation in operations if operation.body is not None
    }
    shown |= {kind.body: "validation" for kind in KINDS.values()}
    shown |= dict.fromkeys(EVENT_TYPES.values(), "validation")
    shown |= dict.fromkeys(_VIEWS, "serialization")
    for operation in brought:
        for answer in operation.answers.values():
            shown |= dict.fromkeys(answer.models, "serialization")
    schemas = schemas_of(shown)
    schemas[_PATCH] = _merge_patch(schemas["Config"])
    schemas["EventStream"] = _event_stream()
    schemas["ChatStream"] = _chat_stream()
    return dict(sorted(schemas.items()))


def schemas_of(
    models: Mapping[type[BaseModel], JsonSchemaMode],
) -> dict[str, JsonSchemaValue]:
    """Schemas of models, and of all that they consist of, by name."""
    _, made = models_json_schema(
        list(models.items()), ref_template="#/components/schemas/{model}"
    )
    schemas: dict[str, JsonSchemaValue] = made["$defs"]
    for name, schema in schemas.items():
        if name in _open_views():
            del schema["additionalProperties"]  # later versions may say more
    return schemas


def _open_views() -> set[str]:
    found: set[str] = set()
    waiting: list[type[View]] = [View]
    while waiting:
        children = waiting.pop().__subclasses__()
        found |= {child.__name__ for child in children}
        waiting += children
    return found


def _merge_patch(schema: JsonSchemaValue) -> JsonSchemaValue:
    """A schema of merge patches (RFC 7396): every field may be absent, or null."""
    properties = {
        name: {"anyOf": [value, {"type": "null"}]}
        for name, value in schema["properties"].items()
    }
    return {
        "type": "object",
        "title": _PATCH,
        "description": "Fields that are not named stay; null restores the default.",
        "properties": properties,
        "additionalProperties": False,
    }


def _event_stream() -> JsonSchemaValue:
    kinds = {name: _ref(model.__name__) for name, model in OWN_FRAMES.items()}
    kinds |= {name: _ref(event.__name__) for name, event in EVENT_TYPES.items()}
    listed = "\n".join(
        f"* `{name}`: `{ref['$ref'].rsplit('/', 1)[1]}`" for name, ref in kinds.items()
    )
    return {
        "type": "string",
        "description": "Server-sent events. `event` names the kind; `data` is JSON:\n\n"
        f"{listed}\n\nComments are sent when nothing happens. Ignore kinds you do not know.",
        "x-events": kinds,
    }


def _chat_stream() -> JsonSchemaValue:
    """One event of the stream: its fields."""
    kinds = {"chunk": ChatChunk, "done": ChatAnswer, "error": ProblemDocument}
    return {
        "type": "object",
        "description": "Server-sent events without ids: any number of `chunk`, then `done` "
        "with the whole answer, or `error`; `data` is JSON. Comments are sent when nothing "
        "happens.",
        "properties": {
            "event": {"type": "string", "enum": list(kinds)},
            "data": {"type": "string", "contentMediaType": "application/json"},
        },
        "required": ["event", "data"],
        "x-events": {name: _ref(model.__name__) for name, model in kinds.items()},
    }


def own_version() -> str:
    """Version of the distribution; 0 where it runs from its sources."""
    try:
        return version("contextd")
    except PackageNotFoundError:
        return "0"
