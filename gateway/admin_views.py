"""What is answered about running the service: restarts, retention, audit log, dead letters.

What operators see of contexts and workers is in `gateway/operators/views.py`.
"""

from typing import Literal

from pydantic import JsonValue

from fsm import Phase
from gateway.views import View
from storage import RestartScope, SupervisorReport


class RestartAccepted(View):
    """A restart or drain begins, or runs already."""

    status: Literal["restarting", "draining"]
    restart_id: str
    report_url: str


class RestartReport(View):
    """How far a restart or drain has come."""

    restart_id: str
    status: Literal["requested", "running", "complete", "failed"]
    kind: Literal["restart", "drain"]
    scope: RestartScope
    process: str | None
    """The one process that a drain is about, if it is about one."""
    force: bool
    requested_at_ms: int
    supervisors: tuple[SupervisorReport, ...]


class AgedContext(View):
    """A context that retention would delete: nobody has changed it since `touched_at`."""

    id: str
    owner: str
    status: Phase
    version: int
    touched_at: str


class RetentionPlan(View):
    """What retention would delete now."""

    days: int
    """0: nothing is ever deleted."""
    before: str | None
    """What was last changed before this goes."""
    count: int
    complete: bool
    """All that are old enough were counted; else there are more."""
    kept: dict[Literal["pinned", "at-work", "waiting"], int]
    """How many are old enough and stay, and why; those that a run has just passed over are
    not counted for a day."""
    contexts: tuple[AgedContext, ...]


class DecisionView(View):
    """What a person has decided about a tool call."""

    call_id: str
    verdict: Literal["approved", "denied", "answered"]
    tool: str | None
    digest: str | None
    """Digest of the tool's name and the approved arguments."""


class AuditRecordView(View):
    """Something that was asked for, or what came of it."""

    number: int
    at: str
    outcome: Literal["asked", "done", "failed"]
    """`asked`: before it was done."""
    of: int | None
    """Number of the record of what was asked."""
    by: str
    """`key:<id>`, `token`, `anybody` where nobody is asked, or `command:<user>`."""
    owner: str
    address: str
    name: str
    target: str
    decisions: tuple[DecisionView, ...]
    before: str
    """Digest of the record before."""
    digest: str


class AuditPage(View):
    """Records, the oldest first."""

    records: tuple[AuditRecordView, ...]
    unreadable: tuple[int, ...]
    """Numbers of those between them that cannot be read: somebody has changed them."""


class DeadLetterView(View):
    """What was given up: it ended each worker that began it, or the webhook did not take it."""

    id: str
    context_id: str
    at_ms: int
    cause: str
    action: str | None
    """None: not an action, but the running turn, or a webhook."""
    event: dict[str, JsonValue] | None
    """The action, as it was sent; or what the webhook was to be told of."""
    webhook: str | None = None
    """Its `webhook-id`, where the webhook has not taken it."""


class DeadLetterList(View):
    """A page of dead letters, newest first; the header Link leads on."""

    count: int
    """How many letters there are in all."""
    dead_letters: tuple[DeadLetterView, ...]


class LetterRetried(View):
    """The letter's action is delivered again; `action_id` is null for a webhook."""

    id: str
    action_id: str | None
