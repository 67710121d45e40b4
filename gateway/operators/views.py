"""What operators are answered: metadata only, no title, message, tool or argument."""

from collections.abc import Mapping
from typing import Literal

from fsm import Phase
from gateway.views import View
from storage import Trouble


class WorkerView(View):
    """A worker that nobody has buried."""

    id: str
    started_at: str
    seen_at: str | None
    """When it has last said that it lives; null: its session is over."""
    contexts: int
    """How many it has active."""


class WorkerList(View):
    """All workers, the oldest first."""

    workers: tuple[WorkerView, ...]


class ProcessView(View):
    """A gateway or worker that has reported lately."""

    id: str
    role: Literal["gateway", "worker"]
    name: str
    """`<host>:<process id>`: what a drain knows it by."""
    started_at: str
    reported_at: str
    draining: bool
    memory_bytes: int
    cpu: float
    """Seconds of processor time per second."""
    lag_ms: float
    """Lag of its event loop, in milliseconds."""
    load: Mapping[str, int]
    """What it has at work."""


class ProcessList(View):
    """All processes that report."""

    processes: tuple[ProcessView, ...]


class GlanceView(View):
    """A context, from outside."""

    id: str
    owner: str
    status: Phase | Literal["unreadable"]
    """`unreadable`: its contents cannot be opened; they were changed, or their key is gone."""
    version: int
    changed_at: str | None
    """When its last event was committed: it has its status at least since then; null: it is
    unreadable."""
    waits_since: str | None
    """Since when something is to happen; null: nothing is until somebody acts, as far as can be
    read."""
    worker: str | None
    worker_lives: bool
    mail: int
    """Undelivered actions."""
    oldest_mail_at: str | None
    due_at: str | None
    """When it wants to be activated by itself."""
    attempts: int
    """Activations in a row that have committed nothing."""
    trouble: Trouble | None
    """`stuck`: something is to happen, and no living worker has it. `slow`: one has it, and
    commits nothing."""


class GlanceList(View):
    """A page of contexts; the header Link leads on, also where the page is short."""

    contexts: tuple[GlanceView, ...]
    complete: bool
    """All that are at work were looked for; else there are more."""


class TurnProgress(View):
    """The turn that runs."""

    id: str
    started_at: str
    waiting_since: str | None
    """Since when a person is waited for."""
    rounds: int
    """Model replies that asked for tools."""
    tools: int
    """Tool calls."""
    attempt: int
    """Number of the attempt at the present model call."""


class PendingEffect(View):
    """Something that was asked of the world and is not answered."""

    id: str
    kind: str


class MailboxView(View):
    """The actions that wait."""

    waiting: int
    last_number: int
    """Number of the last action that was delivered."""
    oldest_action: str | None
    oldest_at: str | None


class LogView(View):
    """The log, and what stands for parts of it."""

    first_version: int
    """The oldest event that is kept."""
    events: int
    bytes: int
    base_version: int | None
    """Version of the state that a compacted log begins with."""
    snapshot_version: int
    """What a new owner need not replay; 0: there is no snapshot."""
    snapshot_lag: int
    """Events that it would replay."""
    compacts_to: int | None
    """Events that are to be left once the context rests; null: nobody has asked."""


class InspectionView(View):
    """One context in depth."""

    context: GlanceView
    created_at: str
    epoch: str
    token: int
    """Counts its activations."""
    job: str | None
    """What rq says of its activation; null: it has no job."""
    ready_since: str | None
    """Since when it waits for a worker; 1970: its worker has died."""
    mailbox: MailboxView
    log: LogView
    messages: int
    branches: int
    queued: int
    """Messages that wait for the turn's end, or for their time."""
    draft_characters: int
    turn: TurnProgress | None
    pending: tuple[PendingEffect, ...]
    failure: str | None
    """Code of why it has failed, or waits to try again."""
    retry_at: str | None
    notices: int
    """Events that the webhook is still to be told of."""
    dead_letters: int


class Requeued(View):
    """The context will be activated."""

    id: str
    enqueued: bool
    """False: its job was there already."""


class CancelDelivered(View):
    """A cancel is in the mailbox, as if the owner had sent it."""

    id: str
    action_id: str


class CompactionAsked(View):
    """The log will be compacted as soon as the context rests."""

    id: str
    status: Literal["asked", "short"]
    """`short`: it has no more events already; nothing was asked."""
    keep_events: int


class LetterFailed(View):
    """A letter that was not retried, and stays."""

    id: str
    problem: str
    """Its type."""


class LettersHandled(View):
    """What became of the letters that fit."""

    done: int
    failed: tuple[LetterFailed, ...]
    more: bool
    """There may be more that fit: ask again, while `done` is not 0."""
