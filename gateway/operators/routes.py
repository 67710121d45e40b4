"""The addresses of operators, with what OpenAPI says about them."""

from collections.abc import Mapping
from typing import Final

from aiohttp.typedefs import Handler
from pydantic import BaseModel

from gateway.admin_views import DeadLetterList, LetterRetried
from gateway.operation import Answer, Operation
from gateway.operations import BODY, LINK, LOCATION, QUOTA
from gateway.operators.bodies import CompactOrder, LettersOrder
from gateway.operators.contexts import (
    cancel,
    compact,
    inspect,
    list_at_work,
    list_processes,
    list_workers,
    requeue,
)
from gateway.operators.letters import (
    drop_letter,
    drop_letters,
    list_letters,
    retry_letter,
    retry_letters,
)
from gateway.operators.parameters import (
    AFTER_PLACE,
    ALL,
    CAUSE,
    CONTEXT,
    KIND,
    OLDER_S,
    OWNER,
    SLOW,
    STATUS,
    STUCK,
)
from gateway.operators.views import (
    CancelDelivered,
    CompactionAsked,
    GlanceList,
    InspectionView,
    LettersHandled,
    ProcessList,
    Requeued,
    WorkerList,
)
from gateway.parameters import LIMIT, Parameter
from gateway.route import Route
from storage import Scope

_STORE: Final = "store-unavailable"


def _operation(
    summary: str,
    answers: Mapping[int, Answer],
    *problems: str,
    body: type[BaseModel] | None = None,
    description: str = "",
) -> Operation:
    problems = (*problems, _STORE, *(BODY if body else ()))
    return Operation(summary, answers, body=body, problems=problems, description=description)


def _route(
    name: str,
    method: str,
    path: str,
    handler: Handler,
    operation: Operation,
    *query: Parameter,
    needs: Scope = "admin",
) -> Route:
    return Route(
        name,
        method,
        f"/admin{path}",
        handler,
        query,
        under_contexts=False,
        has_head=method == "GET",
        needs=needs,
        operation=operation,
    )


OPERATOR_ROUTES: Final = (
    _route(
        *("list_workers", "GET", "/workers", list_workers),
        _operation("Workers that nobody has buried", {200: Answer("All.", (WorkerList,))}),
        needs="dashboard",
    ),
    _route(
        *("list_processes", "GET", "/processes", list_processes),
        _operation(
            "Gateways and workers that report, and what a drain knows them by",
            {200: Answer("All.", (ProcessList,))},
        ),
        needs="dashboard",
    ),
    _route(
        *("list_at_work", "GET", "/contexts", list_at_work),
        _operation(
            "Contexts of all owners to which something is to happen, the oldest first",
            {200: Answer("A page.", (GlanceList,), (LINK,))},
            description="Metadata only: never a title, a message or an argument. A page may be "
            "short, or empty, though there are more: follow Link.",
        ),
        *(STATUS, OLDER_S, OWNER, STUCK, SLOW, ALL, LIMIT, AFTER_PLACE),
        needs="dashboard",
    ),
    _route(
        *("inspect_context", "GET", "/contexts/{id}", inspect),
        _operation(
            "A context of any owner in depth, without what is said in it",
            {200: Answer("What there is.", (InspectionView,))},
            "not-found",
        ),
        needs="dashboard",
    ),
    _route(
        *("requeue_context", "POST", "/contexts/{id}/requeue", requeue),
        _operation(
            "Have a context activated; where somebody has it, nothing changes",
            {202: Answer("It will be.", (Requeued,))},
            "not-found",
        ),
    ),
    _route(
        *("cancel_context", "POST", "/contexts/{id}/cancel", cancel),
        _operation(
            "Stop the turn that runs, as the owner's action `cancel` does",
            {202: Answer("Delivered.", (CancelDelivered,))},
            *("not-found", "mailbox-full"),
        ),
    ),
    _route(
        *("compact_context", "POST", "/contexts/{id}/compact", compact),
        _operation(
            "Have the state take the place of most of a log, as soon as the context rests",
            {202: Answer("It will be, or is that short already.", (CompactionAsked,))},
            "not-found",
            body=CompactOrder,
            description="Whoever owns the context does it, under its own token. The events are "
            "gone; versions and messages stay.",
        ),
    ),
    _route(
        *("list_dead_letters", "GET", "/dead_letters", list_letters),
        _operation(
            "What was given up, newest first",
            {200: Answer("Dead letters.", (DeadLetterList,), (LINK,))},
        ),
        *(CONTEXT, KIND, CAUSE, LIMIT, AFTER_PLACE),
    ),
    _route(
        *("retry_dead_letters", "POST", "/dead_letters/retry", retry_letters),
        _operation(
            "Retry the dead letters that fit, the oldest first",
            {200: Answer("What became of them.", (LettersHandled,))},
            body=LettersOrder,
        ),
    ),
    _route(
        *("drop_dead_letters", "POST", "/dead_letters/drop", drop_letters),
        _operation(
            "Forget the dead letters that fit, the oldest first",
            {200: Answer("What became of them.", (LettersHandled,))},
            body=LettersOrder,
        ),
    ),
    _route(
        *("retry_dead_letter", "POST", "/dead_letters/{letter_id}/retry", retry_letter),
        _operation(
            "Deliver a dead letter's action, or its webhook, once more",
            {202: Answer("Delivered.", (LetterRetried,), (LOCATION,))},
            *("not-found", "key-reused", "mailbox-full", *QUOTA),
        ),
    ),
    _route(
        *("drop_dead_letter", "DELETE", "/dead_letters/{letter_id}", drop_letter),
        _operation("Forget a dead letter", {204: Answer("Forgotten.")}, "not-found"),
    ),
)
