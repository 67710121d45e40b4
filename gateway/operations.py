"""What OpenAPI says about each operation, by the name of its route.

Paths, methods and query parameters are in `gateway/routes.py`, the bodies of actions in
`gateway/kinds.py`; this is the rest.
"""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel

from gateway.admin_views import AuditPage, RestartAccepted, RestartReport, RetentionPlan
from gateway.bodies import (
    AddNote,
    ApproveTools,
    Ask,
    AskTitle,
    CreateContext,
    Fork,
    PatchMessage,
    PutContext,
    Recorded,
    RestartOrder,
)
from gateway.operation import Answer, Header, Operation, Schema
from gateway.operators.bodies import DrainOrder
from gateway.parameters import CURSOR_PATTERN
from gateway.stream_views import EventsPage
from gateway.views import (
    ActionResponse,
    ActionStatus,
    ChatAnswer,
    ContextExport,
    ContextList,
    LimitsView,
    Liveness,
    LogPage,
    MessageList,
    MessageView,
    NoteList,
    NoteView,
    ProblemTypeView,
    Readiness,
    TicketView,
    TitleView,
    TurnList,
)

_TEXT: Final[Schema] = {"type": "string"}
_TAG: Final[Schema] = {"type": "string", "pattern": '^"[0-9]+[.][0-9]+[.][0-9]+"$'}

_CURSOR_TAG: Final[Schema] = {
    "anyOf": [{"const": "*"}, {"type": "string", "pattern": f'^(W/)?"?{CURSOR_PATTERN}"?$'}]
}

KEY: Final = Header(
    "Idempotency-Key",
    "The action is done once, however often it is sent with this key; a repeat is answered "
    "with the same action and the state as it is by then, and `Idempotent-Replayed: true`.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
)
IF_MATCH: Final = Header(
    "If-Match",
    "Only if the context is still at the version of this ETag; else 412.",
    _CURSOR_TAG,
)
PREFER: Final = Header(
    "Prefer",
    "`wait=N`: wait up to N seconds (60 at most) until the turn rests; `respond-async`: "
    "answer 202 at once; `return=minimal`: without the context. RFC 7240.",
    _TEXT,
)
PREFER_POLL: Final = Header(
    "Prefer", "`wait=N` (60 at most): with If-None-Match or `after`, wait for a change.", _TEXT
)
IF_NONE_MATCH: Final = Header("If-None-Match", "304 if this ETag is current.", _TEXT)
LAST_EVENT_ID: Final = Header(
    "Last-Event-ID", "Cursor of the last event seen; the stream goes on behind it.", _TEXT
)

ETAG: Final = Header("ETag", "The context's cursor, `<epoch>.<version>.<n>`.", _TAG)
LOCATION: Final = Header("Location", "Where to ask further.", _TEXT)
LINK: Final = Header("Link", "`rel=next`, where there are more.", _TEXT)
ALL_MESSAGES: Final = Header(
    "Link", "`rel=collection`: all messages, where `messages` has left some out.", _TEXT
)
REPLAYED: Final = Header("Idempotent-Replayed", "`true` on a repeat.", {"const": "true"})
APPLIED: Final = Header("Preference-Applied", "What was honoured of Prefer.", _TEXT)
STALE: Final = Header(
    "Contextd-Stale",
    "`true` where the store does not answer and this is what the gateway has seen last; it "
    "may be behind. `Cache-Control: no-cache` asks for a 503 instead.",
    {"const": "true"},
)
FRESH: Final = Header("Cache-Control", "`no-cache`: no state that may be behind.", _TEXT)
CONTEXT_ID: Final = Header(
    "Contextd-Context-Id", "The context of the session, where there is one.", _TEXT
)
POLL_AFTER: Final = Header(
    "Poll-After-Ms", "When asking again is worth it.", {"type": "integer"}
)
RATE_HEADERS: Final = (
    Header("RateLimit-Policy", "Of each rate: how many at once (q), in how many s (w).", _TEXT),
    Header("RateLimit", "Of each rate: how many are left (r), all again in t s.", _TEXT),
)


_ACTED: Final = Answer("Applied.", (ActionResponse,), (ETAG, REPLAYED, APPLIED))
_ACCEPTED: Final = Answer(
    "Accepted; not applied yet, or the turn does not rest yet.",
    (ActionResponse,),
    (ETAG, LOCATION, REPLAYED, APPLIED, STALE),
)
_READ: Final = Answer("The state.", (ActionResponse,), (ETAG, POLL_AFTER, ALL_MESSAGES, STALE))
_POLLED: Final = Answer(
    "The state; with `after`, the events since.",
    (ActionResponse, EventsPage),
    (ETAG, POLL_AFTER, ALL_MESSAGES, STALE),
)
_UNCHANGED: Final = Answer("Nothing has changed.", (), (ETAG, STALE))
_STORE: Final = ("store-unavailable",)
QUOTA: Final = ("quota-full", "quota-exceeded")
"""Problems of what adds to what an owner has."""
BODY: Final = (
    *("malformed-json", "invalid-header", "body-too-large", "unsupported-media-type"),
    *("invalid-body", "request-timeout"),
)
"""Problems of what takes a body."""
_ASKED: Final = (
    *(*BODY, "not-found", "gone", "illegal-in-phase", "queue-full", "mailbox-full"),
    *("action-abandoned", "model-busy", "unknown-model", "model-refused", "model-unavailable"),
    *("answer-late", "draining", *QUOTA, *_STORE),
)
_WRITE: Final = (
    *("malformed-json", "invalid-header", "body-too-large", "unsupported-media-type"),
    *("invalid-body", "key-reused", "request-timeout", *QUOTA, *_STORE),
)

ACT: Final = Operation(
    "",
    {200: _ACTED, 202: _ACCEPTED},
    (KEY, IF_MATCH, PREFER),
    problems=(
        *_WRITE,
        *("not-found", "illegal-in-phase", "version-mismatch", "mailbox-full"),
        "action-abandoned",
    ),
)
"""What all actions have in common; summary and body are those of the kind."""

DEPRECATION: Final = Header("Deprecation", "Since when (RFC 9745).", _TEXT)
SUNSET: Final = Header("Sunset", "Until when (RFC 8594).", _TEXT)


def _legacy(summary: str, body: type[BaseModel], *problems: str) -> Operation:
    """An operation of the old way."""
    headers = (ETAG, REPLAYED, APPLIED, DEPRECATION, SUNSET, LINK)
    return Operation(
        summary,
        {
            200: Answer("Applied.", (ActionResponse,), headers),
            202: Answer("Accepted; not applied yet.", (ActionResponse,), (*headers, LOCATION)),
        },
        (KEY, IF_MATCH, PREFER),
        body=body,
        problems=(*ACT.problems, "legacy-gone", "too-many-messages", *problems),
        description="Deprecated: /docs/migration.md leads to its successor.",
    )


OPERATIONS: Final[Mapping[str, Operation]] = {
    "list_contexts": Operation(
        "Your contexts, newest first",
        {200: Answer("A page.", (ContextList,), (LINK,))},
        problems=_STORE,
    ),
    "issue_ticket": Operation(
        "A ticket that opens one stream, where no header can be set",
        {201: Answer("It is good once, and soon.", (TicketView,))},
        problems=_STORE,
    ),
    "get_limits": Operation(
        "What you may, and what you have used of it",
        {200: Answer("Quotas and rates.", (LimitsView,))},
        problems=_STORE,
    ),
    "create_context": Operation(
        "Make a context, perhaps with its first message in the same atomic step",
        {
            201: Answer("Made.", (ActionResponse,), (ETAG, LOCATION, REPLAYED, APPLIED)),
            202: _ACCEPTED,
        },
        (KEY, PREFER),
        body=CreateContext,
        problems=(*_WRITE, "not-found"),
        description="404 only where a repeat finds that the context was deleted meanwhile.",
    ),
    "get_context": Operation(
        "A context, whole",
        {200: _READ, 304: _UNCHANGED},
        (IF_NONE_MATCH, PREFER_POLL, FRESH),
        problems=("not-found", "invalid-header", *_STORE),
    ),
    "delete_context": Operation(
        "Delete a context: the action delete, by its method",
        {200: _ACTED, 202: _ACCEPTED},
        (KEY, IF_MATCH, PREFER),
        problems=(
            *("not-found", "invalid-header", "body-too-large", "request-timeout"),
            "key-reused",
            *("illegal-in-phase", "version-mismatch", "mailbox-full", *_STORE),
        ),
    ),
    "import_context": Operation(
        "Make a context of an export",
        {201: Answer("Made.", (ActionResponse,), (ETAG, LOCATION, REPLAYED))},
        (KEY, PREFER),
        body=ContextExport,
        problems=(*_WRITE, "not-found"),
        description="The whole log is replayed before anything is kept: what the machine would "
        "not have accepted is 422, with the event's number. The copy has another id and owner, "
        "the same messages under the same ids, and comes to rest: nothing is done twice.",
    ),
    "fork": Operation(
        "Make a new context of this one, as it is or as it was at a version",
        {201: Answer("Made.", (ActionResponse,), (ETAG, LOCATION, REPLAYED))},
        (KEY, PREFER),
        body=Fork,
        problems=(*_WRITE, "not-found", "compacted"),
        description="The new context has all of the log up to there. What was running then is "
        "cancelled in it, and what waited is left out.",
    ),
    "list_messages": Operation(
        "Messages of a branch, by their numbers",
        {200: Answer("A page.", (MessageList,), (LINK,))},
        problems=("not-found", *_STORE),
    ),
    "get_message": Operation(
        "One message, on whichever branch it lies",
        {200: Answer("The message.", (MessageView,))},
        problems=("not-found", *_STORE),
    ),
    "put_context": _legacy("Write a context", PutContext, "not-append-only", "invalid-config"),
    "post_message": _legacy("Add a message; no turn begins", Recorded, "unknown-message"),
    "patch_message": _legacy("Write another text in a message's place", PatchMessage),
    "post_approval": _legacy(
        "Decide on tool calls", ApproveTools, "no-pending-approvals", "unknown-tool-call"
    ),
    "list_turns": Operation(
        "A row for each turn of the active branch",
        {200: Answer("A page.", (TurnList,), (LINK,))},
        problems=("not-found", *_STORE),
    ),
    "get_log": Operation(
        "Committed events by version",
        {200: Answer("A page.", (LogPage,), (LINK,))},
        problems=("not-found", "compacted", *_STORE),
    ),
    "export_context": Operation(
        "The whole log as one document, always the same bytes",
        {200: Answer("The document.", (ContextExport,))},
        problems=("not-found", *_STORE),
    ),
    "act": ACT,
    "get_state": Operation(
        "Poll a context",
        {200: _POLLED, 304: _UNCHANGED},
        (IF_NONE_MATCH, PREFER_POLL, FRESH),
        problems=("not-found", "invalid-header", "compacted", *_STORE),
        description="A poll after a 2xx to an action shows that action. Most polls are "
        "answered 304 without loading the context.",
    ),
    "stream_events": Operation(
        "Stream a context: server-sent events from a cursor on",
        {200: Answer("The stream.", (), (), "text/event-stream")},
        (LAST_EVENT_ID,),
        problems=("not-found", "draining", "too-many-viewers", *_STORE),
        description="Begins with `hello`; without a cursor a `snapshot` follows, with one "
        "what has happened since, or one `reset` where that cannot be told. `id` is a cursor: "
        "a stream resumed with it, on any gateway, gives the same text as one never cut.",
    ),
    "stream_many": Operation(
        "Stream several contexts on one connection",
        {200: Answer("The stream.", (), (), "text/event-stream")},
        (LAST_EVENT_ID,),
        problems=("not-found", "gone", "draining", "too-many-viewers", *_STORE),
        description="As the stream of one context; `data` is `{context_id, cursor, data}`, and "
        "`id` holds the cursors of all contexts in the order asked for, so that one "
        "Last-Event-ID resumes each. Ends when the last of them is deleted.",
    ),
    "open_socket": Operation(
        "The stream of a context as a WebSocket, with actions on it",
        {101: Answer("Frames `{id, event, data}`, as JSON text.")},
        (LAST_EVENT_ID,),
        problems=("not-found", "draining", "too-many-viewers", "upgrade-required", *_STORE),
        description="Send `{action, body, idempotency_key?, if_version?, ref?}`; each is "
        "answered by an `action-result` with its `ref` and `idempotency_key`: `status`, and "
        "`action` or `problem`. Actions of one socket are delivered in their order. Closed "
        "with 1012 when the gateway stops (go on elsewhere), 1013 for a client that does not "
        "read.",
    ),
    "get_action": Operation(
        "What became of an action",
        {200: Answer("Its state.", (ActionStatus,))},
        problems=("not-found", "gone", *_STORE),
    ),
    "ask": Operation(
        "Ask a question; what is found for it in your contexts and notes goes with it",
        {200: Answer("The answer, and its sources.", (ChatAnswer,), (CONTEXT_ID,))},
        body=Ask,
        problems=_ASKED,
        description="`text` looks nothing up, `semantic` what shares words with the query, "
        "`graph` what that hangs together with, `deep` both, and what was spoken of lately. "
        "Without a session the question and its answer are forgotten.",
    ),
    "ask_streamed": Operation(
        "Ask a question in mode `deep`; the answer comes as it is made",
        {200: Answer("The stream.", (), (CONTEXT_ID,), "text/event-stream", "ChatStream")},
        body=Ask,
        problems=_ASKED,
    ),
    "make_title": Operation(
        "A title for messages or a text; without a model, how it begins",
        {200: Answer("The title.", (TitleView,))},
        body=AskTitle,
        problems=(*BODY, "not-found", "mailbox-full", "action-abandoned", *_STORE),
    ),
    "delete_session": Operation(
        "Delete a session and all that is kept of it",
        {204: Answer("Deleted."), 202: Answer("It will be deleted.")},
        problems=("not-found", "mailbox-full", "action-abandoned", *_STORE),
    ),
    "list_notes": Operation(
        "Your notes, newest first",
        {200: Answer("A page.", (NoteList,), (LINK,))},
        problems=_STORE,
    ),
    "add_note": Operation(
        "Keep a note, to be found by searches",
        {201: Answer("Kept.", (NoteView,))},
        body=AddNote,
        problems=(*BODY, "too-many-notes", *_STORE),
    ),
    "delete_note": Operation(
        "Forget a note",
        {204: Answer("Forgotten.")},
        problems=("not-found", *_STORE),
    ),
    "restart": Operation(
        "Restart the processes: each new one serves before the old one drains",
        {200: Answer("Asked for; or the one that runs already.", (RestartAccepted,))},
        body=RestartOrder,
        problems=(
            *("malformed-json", "invalid-header", "body-too-large", "unsupported-media-type"),
            *("invalid-body", "request-timeout", "busy", "no-supervisor", *_STORE),
            "operation-running",
        ),
        description="Answered before anything stops. Streams get a `bye` and go on elsewhere. "
        "What was drained comes back.",
    ),
    "drain": Operation(
        "End processes, and have nothing take their place until the next restart",
        {200: Answer("Asked for; or the same that runs already.", (RestartAccepted,))},
        body=DrainOrder,
        problems=(*BODY, "nobody-left", "operation-running", "no-supervisor", *_STORE),
        description="For maintenance, for fewer processes, for a bad machine. Gateways one at "
        "a time; the one that answers is never drained, so that one is left. Reported as a "
        "restart is.",
    ),
    "get_restart": Operation(
        "How far a restart or drain has come",
        {200: Answer("The report.", (RestartReport,))},
        problems=("not-found", *_STORE),
    ),
    "list_audit": Operation(
        "What was asked for that somebody may have to answer for, the oldest first",
        {200: Answer("Records.", (AuditPage,), (LINK,))},
        problems=_STORE,
    ),
    "get_retention": Operation(
        "What retention would delete now, without doing it",
        {200: Answer("The plan, oldest first.", (RetentionPlan,))},
        problems=_STORE,
    ),
    "health": Operation(
        "The process answers (alias of /healthz)", {200: Answer("Yes.", (Liveness,))}
    ),
    "healthz": Operation("The process answers", {200: Answer("Yes.", (Liveness,))}),
    "readyz": Operation(
        "Whether requests would succeed",
        {200: Answer("Ready.", (Readiness,)), 503: Answer("Not ready.", (Readiness,))},
    ),
    "get_problem_type": Operation(
        "What a type of problem means; a page, where HTML is asked for",
        {200: Answer("The type.", (ProblemTypeView,))},
        problems=("not-found",),
    ),
}
"""By route; routes that are not here serve the documentation itself."""
