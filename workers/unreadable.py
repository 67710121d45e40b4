"""Contexts that nobody can open: they are deleted if that was asked for, and left alone else.

What is kept of them was changed in the store, or its key is not here. That may come back.
"""

import structlog

from fsm import ContextCreated, ContextDeleted, replay
from storage import Commit, Mail, Remains, Result, Store
from workers.batch import Batch

log = structlog.get_logger(__name__)


async def delete_if_asked(remains: Remains, store: Store, worker_id: str) -> bool:
    """Delete a context that cannot be opened, if mail that can be opened asks for it.

    Returns:
        Whether it was deleted.

    Raises:
        Fenced: Another worker has become its owner.
    """
    asked = next((each for each in remains.mail if _is_for(each.mail, remains)), None)
    if asked is None:
        return False
    # All that deleting takes from a state is what an empty one has, too.
    made = ContextCreated(
        at_ms=asked.mail.event.at_ms, context_id=remains.context_id, owner=remains.owner
    )
    empty = replay([made]).model_copy(update={"version": remains.version})
    batch = Batch(empty, store)
    batch.apply(asked.mail.event)
    batch.answer(asked.seq, Result(outcome="applied", version=batch.state.version))
    commit = Commit(
        context_id=remains.context_id,
        token=remains.token,
        base=remains.version,
        events=batch.events,
        state=batch.state,
        rests=True,
        acknowledged=batch.acknowledged,
        results=batch.results,
        notices=batch.notices,
    )
    await store.ownership.delete(commit, worker_id)
    log.warning("context was deleted unread", context_id=remains.context_id)
    return True


def _is_for(mail: Mail, remains: Remains) -> bool:
    """Whether mail asks for the deletion of just this."""
    if not isinstance(mail.event, ContextDeleted):
        return False
    return mail.if_version is None or mail.if_version == remains.version
