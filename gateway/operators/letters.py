"""Dead letters: looked through, retried and dropped, one by one or all that have one cause."""

from aiohttp import web
from pydantic import JsonValue

from fsm import RetryRequested
from gateway.answers import action_id, json_response
from gateway.app import GATEWAY, Gateway
from gateway.delivery import wake
from gateway.history import next_page, read_limit
from gateway.operators.bodies import LettersOrder
from gateway.operators.parameters import AFTER_PLACE, read_place, read_sought, write_place
from gateway.parameters import LIMIT, letter_id_of
from gateway.problems import Problem, problem_of
from gateway.reading import read_body
from storage import (
    ContextMissing,
    DeadLetter,
    DeadLetters,
    KeyReused,
    LetterPage,
    Mail,
    MailboxFull,
    QuotaExceeded,
    Sought,
    make_redactor,
)


async def list_letters(request: web.Request) -> web.StreamResponse:
    """Dead letters, newest first."""
    gateway = request.app[GATEWAY]
    limit = read_limit(request, gateway.config.list_max)
    letters = _letters(gateway)
    page = await letters.page(limit, sought=read_sought(request), after=read_place(request))
    headers: dict[str, str] = {}
    if page.ended is not None:
        further = {LIMIT.name: str(limit), AFTER_PLACE.name: write_place(page.ended)}
        headers["Link"] = next_page(request, {**request.query, **further})
    redact = make_redactor(gateway.store.config.redact)
    body = {
        "count": await letters.count(),
        "dead_letters": [redact(_letter(letter)) for letter in page.letters],
    }
    return json_response(body, headers=headers)


def _letter(letter: DeadLetter) -> dict[str, JsonValue]:
    mail, notice = letter.mail, letter.notice
    event = mail.event.model_dump(mode="json") if mail else None
    return {
        "id": letter.id,
        "context_id": letter.context_id,
        "at_ms": letter.at_ms,
        "cause": letter.cause,
        "action": mail.event.action if mail else None,
        "event": dict(notice.event) if notice else event,
        "webhook": f"{letter.context_id}.{notice.version}" if notice else None,
    }


async def retry_letter(request: web.Request) -> web.StreamResponse:
    """Deliver the action or webhook once more, or retry the turn; then the letter is gone."""
    gateway = request.app[GATEWAY]
    letter = await _one(request)
    name = await _retry(gateway, letter)
    return json_response(
        {"id": letter.id, "action_id": name},
        status=202,
        headers={} if name is None else {"Location": f"/api/actions/{name}"},
    )


async def _retry(gateway: Gateway, letter: DeadLetter) -> str | None:
    """Have a letter done once more, and forget it; the id of its action."""
    if letter.notice is not None:
        await gateway.store.webhooks.put_back(letter.context_id, letter.notice)
        await _letters(gateway).drop(letter.id)
        return None
    event = letter.mail.event if letter.mail else RetryRequested(at_ms=gateway.clock())
    receipt = await gateway.store.admissions.deliver(
        letter.context_id,
        letter.owner,
        Mail(event=event),
        # Repeated after an answer that was lost, it is still delivered once.
        key=f"dead-letter {letter.id}",
        digest=letter.id,
    )
    name = action_id(letter.context_id, receipt.seq, epoch=gateway.store.epoch)
    await wake(gateway, letter.context_id, letter.owner, receipt)
    await _letters(gateway).drop(letter.id)
    return name


async def drop_letter(request: web.Request) -> web.StreamResponse:
    """Forget a letter."""
    letter = await _one(request)
    await _letters(request.app[GATEWAY]).drop(letter.id)
    return web.Response(status=204)


async def retry_letters(request: web.Request) -> web.StreamResponse:
    """Retry those that fit, the oldest first; what cannot be delivered stays."""
    gateway = request.app[GATEWAY]
    page = await _fitting(request)
    failed: list[dict[str, JsonValue]] = []
    for letter in page.letters:
        try:
            await _retry(gateway, letter)
        except (ContextMissing, KeyReused, MailboxFull, QuotaExceeded) as error:
            problem = problem_of(error)
            assert problem is not None, "each has one"
            failed.append({"id": letter.id, "problem": f"/problems/{problem.type}"})
    return _handled(page, failed)


async def drop_letters(request: web.Request) -> web.StreamResponse:
    """Forget those that fit, the oldest first."""
    letters = _letters(request.app[GATEWAY])
    page = await _fitting(request)
    for letter in page.letters:
        await letters.drop(letter.id)
    return _handled(page, [])


async def _fitting(request: web.Request) -> LetterPage:
    gateway = request.app[GATEWAY]
    order = await read_body(request, LettersOrder, depth_max=gateway.config.json_depth_max)
    most = gateway.config.list_max
    limit = most if order.limit is None else order.limit
    if limit > most:
        raise Problem("invalid-body", f"limit: at most {most}.")
    sought = Sought(context_id=order.context_id, kind=order.kind, cause=order.cause)
    return await _letters(gateway).page(limit, sought=sought, oldest_first=True)


def _handled(page: LetterPage, failed: list[dict[str, JsonValue]]) -> web.Response:
    body = {
        "done": len(page.letters) - len(failed),
        "failed": failed,
        "more": page.ended is not None,
    }
    return json_response(body)


def _letters(gateway: Gateway) -> DeadLetters:
    return DeadLetters(gateway.store.link, gateway.store.sealer)


async def _one(request: web.Request) -> DeadLetter:
    letter = await _letters(request.app[GATEWAY]).one(letter_id_of(request))
    if letter is None:
        raise Problem("not-found", "There is no such dead letter.")
    return letter
