"""What clients may send: one model per request body."""

import re
from typing import Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    model_validator,
)

from fsm import Config, SendPolicy, ToolCall
from gateway.parameters import SESSION_PATTERN
from gateway.reading import INTEGER_MAX
from storage import RestartScope

Text = Annotated[str, Field(min_length=1, max_length=60_000)]
ShortText = Annotated[str, Field(max_length=200)]
Id = Annotated[str, Field(min_length=1, max_length=255)]
SessionId = Annotated[str, Field(pattern=f"^{SESSION_PATTERN}$")]


_DATE: Final = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


def _dated(value: object) -> object:
    """Refuse numbers as times: seconds could not be told from milliseconds."""
    if _DATE.match(str(value)) is None:
        raise ValueError("send RFC 3339, as in 2026-01-31T12:00:00Z")
    return value


Time = Annotated[AwareDatetime, BeforeValidator(_dated)]
"""RFC 3339, with its offset."""
BranchName = Annotated[str, Field(pattern=r"^[^\s/]([^\n\r/]{0,98}[^\s/])?$", max_length=100)]
"""1 to 100 characters, no slash, no line break, no space at either end."""


def _number(value: object) -> object:
    """Refuse what pydantic would convert to a number, such as true and "5"."""
    if type(value) not in {int, float}:
        raise ValueError("a number is needed")
    return value


def read_flag(value: object) -> object:
    """A value that is true or false; neither 0 nor "yes" is."""
    if value is not True and value is not False:
        raise ValueError("true or false is needed")
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Real = Annotated[float, BeforeValidator(_number)]
Flag = Annotated[bool, BeforeValidator(read_flag)]


def check_limits(config: JsonValue) -> JsonValue:
    """Check that the limits in a configuration, or in a patch of one, are numbers.

    Raises:
        ValueError: One of them is something else.
    """
    limits = config.get("limits") if isinstance(config, dict) else None
    if isinstance(limits, dict):
        for value in limits.values():
            if value is not None:  # in a patch: the default again
                _number(value)
    return config


class Body(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TextPart(Body):
    """Text in a message of several parts."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: Annotated[str, Field(min_length=1, max_length=64)]
    """`text`, `image_url`, `file_reference`, or a kind that is carried as it is."""
    text: str | None = None


class Attachment(Body):
    """Something that comes with a message."""

    type: Literal["text", "file_reference"]
    name: Annotated[str, Field(min_length=1, max_length=255)]
    text: Annotated[str, Field(max_length=60_000)] | None = None
    """What is in it (`text`)."""
    url: Annotated[str, Field(max_length=2_000)] | None = None
    """Where it is (`file_reference`)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.text is None) != (self.type == "file_reference"):
            raise ValueError("text belongs to attachments of type text, and to no others")
        if self.url is not None and self.type != "file_reference":
            raise ValueError("url belongs to attachments of type file_reference")
        return self


class Recorded(Body):
    """A message that came about elsewhere."""

    role: Literal["system", "user", "assistant", "tool"]
    content: Annotated[str, Field(max_length=60_000)]
    tool_calls: Annotated[list[ToolCall], Field(max_length=200)] = []
    tool_call_id: Id | None = None
    created_at: Time | None = None
    """Now, if it is not given."""
    status: Literal["complete", "cancelled", "interrupted", "failed"] = "complete"
    finish_reason: ShortText | None = None
    client_message_id: Id | None = None
    model: ShortText | None = None
    metadata: dict[str, JsonValue] = {}
    replaces: Id | None = None
    """Id of the message on the active branch in whose place it stands."""


class SendMessage(Body):
    """Say something; starts a turn, or waits for the running one to end."""

    content: Annotated[
        Text | Annotated[list[TextPart], Field(min_length=1, max_length=64)],
        Field(description="Text, or typed parts."),
    ]
    attachments: Annotated[list[Attachment], Field(max_length=64)] = []
    client_message_id: Id | None = None
    policy: SendPolicy | None = None
    """What to do while a turn runs; as the context is configured, if it is not given."""
    not_before: Time | None = None
    """It counts as sent then; until then it waits in the queue."""
    metadata: dict[str, JsonValue] = {}


class EditMessage(Body):
    """Say something else in a message's place; the old one is kept beside it."""

    message_id: Id
    content: Annotated[
        Text | Annotated[list[TextPart], Field(min_length=1, max_length=64)],
        Field(description="Text, or typed parts."),
    ]
    client_message_id: Id | None = None
    metadata: dict[str, JsonValue] = {}


class Regenerate(Body):
    """Ask for another alternative of a reply."""

    message_id: Id | None = None
    """The reply, or a message of the user to be answered anew; the last reply, if none."""


class UpdateQueue(Body):
    """Change what waits: edited first, then removed, then moved."""

    remove: Annotated[list[Id], Field(max_length=1_000)] = []
    edit: Annotated[dict[Id, Text], Field(max_length=1_000)] = {}
    """New text by message id."""
    move: Annotated[
        dict[Id, Annotated[Whole, Field(ge=0, le=1_000)]], Field(max_length=1_000)
    ] = {}
    """New place by message id; 0 is next."""


class CreateBranch(Body):
    """Give a line through the tree a name."""

    name: BranchName
    from_message_id: Id | None = None
    """Its last message; that of the active branch, if none."""
    system_prompt: Annotated[str, Field(max_length=60_000)] | None = None
    """Instead of the configured one."""


class SwitchBranch(Body):
    """Go on elsewhere: on another branch, or through another message."""

    name: BranchName | None = None
    message_id: Id | None = None


class MergeBranch(Body):
    """Bring to the active branch what another has of its own."""

    source: BranchName
    strategy: Literal["append", "cherry_pick", "rebase"] = "append"
    message_ids: Annotated[list[Id], Field(max_length=1_000)] = []
    """Those to pick."""
    accept_conflicts: Flag = False
    """Keep what both sides have; else conflicts are told, and nothing is merged."""


class Fork(Body):
    """Make a new context of this one as it was."""

    at_version: Annotated[Whole, Field(ge=1, le=INTEGER_MAX)] | None = None
    """The present one, if it is not given."""
    title: ShortText | None = None


class AnswerQuestion(Body):
    """Answer what the model asked."""

    question_id: Id
    content: Text


class RecordMessages(Body):
    """Add messages that came about elsewhere; no turn begins."""

    messages: Annotated[list[Recorded], Field(min_length=1, max_length=1_000)]


class SocketAction(Body):
    """An action that comes on a WebSocket."""

    action: Annotated[str, Field(min_length=1, max_length=64)]
    body: dict[str, JsonValue] = {}
    idempotency_key: Annotated[str, Field(pattern="^[ -~]{1,255}$")] | None = None
    if_version: Annotated[Whole, Field(ge=0)] | None = None
    ref: Id | None = None
    """Comes back with the result."""


class PutContext(Body):
    """A context as an old client keeps it."""

    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    config: dict[str, JsonValue] | None = None
    messages: Annotated[list[Recorded], Field(max_length=1_000)] | None = None
    """All of them; those that are there must be the same."""


class PatchMessage(Body):
    """Another text in a message's place."""

    content: Annotated[str, Field(max_length=60_000)]
    status: Literal["complete", "cancelled", "interrupted", "failed"] | None = None
    metadata: dict[str, JsonValue] = {}


class RequestTurn(RecordMessages):
    """Add messages that came about elsewhere, and have the model answer them."""

    follows: Id | None = None
    """Id of the message that they follow; the last of the active branch, if none."""
    config: dict[str, JsonValue] = {}
    """A merge patch (RFC 7396) of the configuration, in force from this turn on."""


class CreateContext(Body):
    """Make a context, perhaps with its first message in the same step."""

    title: ShortText = ""
    labels: Annotated[dict[Id, ShortText], Field(max_length=32)] = {}
    config: Annotated[Config, BeforeValidator(check_limits)] = Config()
    message: SendMessage | None = None
    expires_at: Time | None = None
    """It is deleted then, unless it is pinned."""


def _stand_alone(messages: list[Recorded]) -> list[Recorded]:
    if any(message.replaces is not None for message in messages):
        raise ValueError("replaces is of no use here: there is no message yet")
    return messages


Before = Annotated[list[Recorded], Field(max_length=1_000), AfterValidator(_stand_alone)]
"""What was said before, for a context that is made for it."""


class Ask(Body):
    """Ask a question; what is found for it goes to the model with it."""

    query: Text
    history: Before = []
    """What was said before; a session that there is already knows that by itself."""
    context: Text | None = None
    """Something to read before answering; told to the model as a quotation."""
    session_id: SessionId | None = None
    """Whose questions belong together; without one the question is forgotten."""
    skip_memory: Flag = False
    """Tell the model nothing of other contexts but what fits the query (mode `deep`)."""
    model: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The configured one, if it is not given."""


class AskTitle(Body):
    """Have a title made, of messages or of a text."""

    messages: Before = []
    text: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.messages) == (self.text is not None):
            raise ValueError("send messages, or a text")
        return self


class AddNote(Body):
    """Keep a note, to be found by searches."""

    text: Annotated[str, Field(min_length=1, max_length=16_000)]


class RestartOrder(Body):
    """Restart the processes."""

    scope: RestartScope = "all"
    force: Flag = False
    """Also while turns run, and kill instead of draining."""


class Deny(Body):
    """A tool call that is not to be made."""

    id: Id
    reason: ShortText = ""


class ApproveTools(Body):
    """Decide on tool calls; those not named stay pending."""

    tool_call_ids: Annotated[list[Id], Field(max_length=200)] = []
    deny: Annotated[list[Deny], Field(max_length=200)] = []
    edits: Annotated[dict[Id, dict[str, JsonValue]], Field(max_length=200)] = {}
    """New arguments by call id."""


class Cancel(Body):
    """Stop the running turn."""

    turn_id: Id | None = None


class Empty(Body):
    """An action that needs no details."""


class Rename(Body):
    """Give the context another title."""

    title: Annotated[str, Field(min_length=1, max_length=200)]
