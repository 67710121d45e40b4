"""Every type of problem: its status, its title, and what can be done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What all problems of one type have in common."""

    status: int
    title: str
    advice: str
    """What the client, or whoever runs the server, can do."""


TYPES: Final[Mapping[str, ProblemType]] = {
    "malformed-request": ProblemType(
        400, "This is no HTTP request", "Speak HTTP/1.1; the detail says what is wrong."
    ),
    "malformed-json": ProblemType(
        400,
        "The body is not JSON",
        "Send one JSON value in UTF-8: no duplicate keys, no NaN or Infinity, no integer "
        "beyond 64 bits, no half of a surrogate pair, nested at most as deep as the server "
        "allows.",
    ),
    "invalid-header": ProblemType(
        400, "A header cannot be understood", "Correct the header that the detail names."
    ),
    "invalid-parameter": ProblemType(
        400,
        "A query parameter cannot be understood",
        "Correct the parameter that the detail names; each is known at its address and sent "
        "at most once.",
    ),
    "no-pending-approvals": ProblemType(
        400,
        "No pending tool approvals",
        "Nothing waits for an approval, or the detail names calls that were decided otherwise. "
        "Read the state: another client may have decided.",
    ),
    "unauthorized": ProblemType(
        401,
        "Who are you?",
        "Send an API key: `Authorization: Bearer ctxd_...`. `contextd keys create` makes one; "
        "the first is in `owner.key` in the data folder.",
    ),
    "forbidden": ProblemType(
        403,
        "That key does not allow this",
        "Use a key with the scope that the detail names; `contextd keys create` makes one.",
    ),
    "origin-not-allowed": ProblemType(
        403,
        "This page may not ask here",
        "A browser has asked for a page of another origin. If the page is yours, put its "
        "origin on the server's `cors_origins`.",
    ),
    "quota-full": ProblemType(
        403,
        "You have as much as you may have",
        "`quota` says of what, `limit` how much may be and `used` how much there is; delete "
        "some, or ask whoever runs the server for more.",
    ),
    "not-found": ProblemType(
        404,
        "Not found",
        "Check the address and the id. What was deleted, and what belongs to somebody else, "
        "is not found either.",
    ),
    "method-not-allowed": ProblemType(
        405, "Method not allowed", "Use one of the methods that the header Allow names."
    ),
    "request-timeout": ProblemType(
        408,
        "The request did not come to its end",
        "Send the whole request within the server's `head_s_max` and `body_s_max`; nothing of "
        "it was taken.",
    ),
    "action-abandoned": ProblemType(
        409,
        "The action was given up",
        "It has ended each worker that began it. It is in the dead letters, and the context "
        "has failed: retry or reset goes on with it.",
    ),
    "in-use": ProblemType(
        409,
        "Others go on from it",
        "The response is a part of a conversation; delete the conversation.",
    ),
    "busy": ProblemType(
        409,
        "Turns are running",
        "`active_contexts` says where. Wait, or ask again with force.",
    ),
    "operation-running": ProblemType(
        409,
        "Another restart or drain has not ended",
        "The detail says where its report is. Wait for its end, then ask again.",
    ),
    "nobody-left": ProblemType(
        409,
        "Nobody would be left to serve",
        "The detail says what can be done; the last gateway is never drained.",
    ),
    "no-supervisor": ProblemType(
        409,
        "Nobody can restart or drain anything",
        "Do it where you have started the processes; `contextd up` and `contextd "
        "supervise` restart theirs.",
    ),
    "illegal-in-phase": ProblemType(
        409,
        "Not possible now",
        "`phase` says where the context is, `allowed_actions` what it takes there.",
    ),
    "turn-running": ProblemType(
        409,
        "A turn is running",
        "The message was sent with policy `reject`. Wait for the turn's end, or send it with "
        "another policy.",
    ),
    "not-waiting": ProblemType(
        409,
        "That message does not wait",
        "Its turn has begun, or it was removed. Read `queue` of the state.",
    ),
    "unknown-question": ProblemType(
        409,
        "That question is not open",
        "It was answered, or its time is over. Read `pending_questions` of the state.",
    ),
    "branch-exists": ProblemType(
        409,
        "There is a branch of that name already, or there are too many",
        "Choose another name; `limits.branches_max` of the configuration bounds their number.",
    ),
    "not-append-only": ProblemType(
        409,
        "Messages that are there cannot be changed or removed so",
        "Send all messages that the context has, and new ones behind them; or use the actions "
        "edit_message, regenerate and switch_branch.",
    ),
    "too-many-notes": ProblemType(
        409,
        "You have as many notes as one may have",
        "Delete some; the server's `notes_max` bounds their number.",
    ),
    "merge-conflict": ProblemType(
        409,
        "Both branches have something of their own in the same place",
        "`conflicts` says what. Nothing was merged; accept_conflicts: true keeps both.",
    ),
    "unknown-turn": ProblemType(
        409,
        "That turn is not running",
        "The turn that you wanted stopped has ended. Read the state before you stop another.",
    ),
    "legacy-gone": ProblemType(
        410,
        "This old endpoint is switched off",
        "The detail names its successor; /docs/migration.md leads there step by step.",
    ),
    "compacted": ProblemType(
        410,
        "The log does not go back so far",
        "Its beginning was replaced by the state that it had led to. `first_version` says what "
        "there is; the messages are all there.",
    ),
    "gone": ProblemType(
        410,
        "The context was deleted",
        "Only its former owner is told so, for the server's `tombstone_days`; to everybody "
        "else it is not found. Nothing of it is kept.",
    ),
    "version-mismatch": ProblemType(
        412,
        "The context has changed",
        "Read the state, decide again, and send its new ETag as If-Match.",
    ),
    "body-too-large": ProblemType(
        413, "The body is too large", "Send less; the server's `body_bytes_max` bounds it."
    ),
    "unsupported-media-type": ProblemType(
        415,
        "The body must be JSON",
        "Send Content-Type: application/json, without Content-Encoding.",
    ),
    "misdirected": ProblemType(
        421,
        "This server has another name",
        "Ask it by an address or as localhost; operators name what else it is called in "
        "`public_hosts`.",
    ),
    "unknown-model": ProblemType(
        422,
        "There is no such model",
        "The detail names the model that is configured; leave `model` out to ask that one.",
    ),
    "model-refused": ProblemType(
        422,
        "The model does not take the request",
        "The detail has the model server's own words: the conversation may be too long, or no "
        "model may be configured.",
    ),
    "invalid-body": ProblemType(
        422,
        "The body is not what the action takes",
        "The detail names the first field that is wrong; /openapi.json has the schemas.",
    ),
    "unknown-tool-call": ProblemType(
        422,
        "No such tool call",
        "Name ids from `pending_tool_calls` of the state; nothing was decided.",
    ),
    "unknown-message": ProblemType(
        422,
        "No such message",
        "Name the id of a message of this context, of the kind that the detail says.",
    ),
    "unknown-branch": ProblemType(
        422, "No such branch", "Name one of `branches` of the state."
    ),
    "too-many-messages": ProblemType(
        422, "Too many messages at once", "Send them in several actions."
    ),
    "invalid-config": ProblemType(
        422,
        "The configuration would not be valid",
        "The detail names the field; the configuration is as it was.",
    ),
    "key-reused": ProblemType(
        422,
        "The Idempotency-Key was used for another request",
        "Use a new key for a new request; repeat a request with the very same body.",
    ),
    "upgrade-required": ProblemType(
        426, "This address is a WebSocket", "Open it with a WebSocket client, or use /events."
    ),
    "rate-limited": ProblemType(
        429,
        "Too many requests",
        "Come again after Retry-After; `RateLimit-Policy` and `RateLimit` tell how many may "
        "come how fast, and how many are left.",
    ),
    "quota-exceeded": ProblemType(
        429,
        "You have used as much as you may for now",
        "Nothing was taken. `quota` says of what, `limit` how much may be and `used` how much "
        "was; send again after Retry-After.",
    ),
    "too-many-streams": ProblemType(
        429,
        "Too many streams of one owner",
        "Close one, or show several contexts on one stream; the server's "
        "`streams_per_owner_max` bounds them.",
    ),
    "queue-full": ProblemType(
        429,
        "Too many messages wait",
        "Let the running turn end, or cancel it; `limits.queue_max` of the configuration "
        "bounds the queue.",
    ),
    "mailbox-full": ProblemType(
        429,
        "Too many undelivered actions",
        "Nothing was taken. Send again after Retry-After; if it stays full, no worker runs.",
    ),
    "model-busy": ProblemType(
        429,
        "The model server takes no more requests",
        "Send again after Retry-After; the worker has tried several times already.",
    ),
    "head-too-large": ProblemType(
        431,
        "The head of the request is too large",
        "Send a shorter address, and fewer and shorter headers: at most 128 lines, of 8 KB "
        "each, and the server's `head_bytes_max` of all.",
    ),
    "internal": ProblemType(
        500,
        "Something went wrong",
        "This is a fault of the server; its log has the request_id.",
    ),
    "unreadable": ProblemType(
        500,
        "The context cannot be opened",
        "What is kept of it was changed in the store, or the key to it is not here; whoever "
        "runs the server may bring back either. It can be deleted.",
    ),
    "model-unavailable": ProblemType(
        503,
        "The model does not answer",
        "The detail names the server that was asked, as often as the configuration says, and "
        "`code` how it has failed. Ask again later. Operators: see the model settings.",
    ),
    "store-unavailable": ProblemType(
        503,
        "The store does not answer",
        "Repeat the request after Retry-After, with the same Idempotency-Key: then it is done "
        "once, whatever became of the first. Operators: see /readyz.",
    ),
    "draining": ProblemType(
        503, "This gateway is stopping", "Connect again; another gateway answers."
    ),
    "too-many-connections": ProblemType(
        503,
        "Too many connections",
        "Connect again after Retry-After; the server's `connections_max` bounds them, and its "
        "`connections_per_address_max` those of one address.",
    ),
    "too-many-viewers": ProblemType(
        503, "Too many streams", "Connect again after Retry-After, or poll."
    ),
    "answer-late": ProblemType(
        504,
        "The answer takes longer than a request may wait",
        "In a session, or bound to a context, it goes on and will be there; else ask again. "
        "The server's `chat_s_max` and `openai_wait_s_max` bound the wait.",
    ),
}
"""Every problem type, by the last part of its URI."""

EVERYWHERE: Final = frozenset(
    {
        *("malformed-request", "head-too-large", "too-many-connections"),
        *("method-not-allowed", "origin-not-allowed", "misdirected"),
    }
)
"""Types that any request may meet before its address is looked at."""
