"""What retrievers give to the model, of what the owner has said elsewhere."""

from fsm import (
    UNSEARCHED,
    ContextState,
    MessagesRecorded,
    RecordedMessage,
    Reference,
    Summary,
)
from tests.support.playbook import BEGAN_MS, Playbook, record, replied, say
from tests.workers.stage import nth_id
from tests.workers.tools.shelf import Shelf, context, open_shelf
from workers.tools import SearchConfig, given, recall_retrievers


async def recalled(shelf: Shelf, name: str, query: str, **settings: int) -> list[Reference]:
    config = SearchConfig.model_validate(settings)
    retriever = recall_retrievers(shelf.searches, config)[name]
    return list(await retriever(context(), query))


def spoken(*said: str) -> MessagesRecorded:
    """Turns: what the user says and what the model replies, in turn."""
    return MessagesRecorded(
        at_ms=BEGAN_MS + 1,
        messages=tuple(
            RecordedMessage(role="assistant" if number % 2 else "user", content=content)
            for number, content in enumerate(said)
        ),
    )


async def test_search_quotes_passages_and_notes_with_where_they_are_from() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, "The ferry leaves at noon.", title="Travel")
        await shelf.notes.add("ada", "n1", "Ferry list\ncoat, tickets")
        state = await shelf.happen(1, spoken("Thanks", "You are welcome"))
        found = await recalled(shelf, "search", "ferry")
        noted, quoted = sorted(found, key=lambda one: one.source)
        assert (noted.source, noted.title) == ("note n1", "Ferry list")
        assert (noted.context_id, noted.message_id) == (None, None)
        assert quoted.source == f"user in context {nth_id(1)}"
        assert (quoted.title, quoted.text) == ("Travel", "The ferry leaves at noon.")
        assert (quoted.context_id, quoted.message_id) == (nth_id(1), state.messages[0].id)
        assert quoted.score is not None


async def test_graph_tells_what_a_passage_hangs_together_with() -> None:
    async with open_shelf() as shelf:
        await shelf.keep(1, title="Travel")
        state = await shelf.happen(
            1,
            spoken("Where is it?", "In the harbour.", "When does the ferry leave?", "At noon."),
        )
        (placed,) = await recalled(shelf, "graph", "ferry leave")
        assert placed.source == f"tree of context {nth_id(1)}"
        assert (placed.context_id, placed.message_id) == (nth_id(1), state.messages[2].id)
        assert placed.text == (
            "#1 user: Where is it?\n"
            "#2 assistant (follows #1): In the harbour.\n"
            "#3 user (follows #2): When does the ferry leave?\n"
            "#4 assistant (follows #3): At noon.\n"
            "active branch main (ends with #4)"
        )


async def test_graph_has_nothing_to_tell_of_notes() -> None:
    async with open_shelf() as shelf:
        await shelf.notes.add("ada", "n1", "Ferry list")
        assert await recalled(shelf, "graph", "ferry") == []


async def test_memory_tells_of_the_contexts_spoken_in_last_whatever_the_query() -> None:
    async with open_shelf() as shelf:
        for number in (1, 2, 3):
            await shelf.keep(number, f"question {number}", title=f"T{number}")
        await shelf.keep(4, "hidden", labels={UNSEARCHED: "yes"})
        await shelf.keep(5)
        await shelf.keep(6, "of another", owner="bob")
        await shelf.speak(1, "question 1 again")
        told = await recalled(shelf, "memory", "ferry", memory_contexts_max=2)
        assert [(found.title, found.text) for found in told] == [
            ("T1", "user: question 1 again"),
            ("T3", "user: question 3"),
        ]
        assert [found.context_id for found in told] == [nth_id(1), nth_id(3)]


async def test_memory_tells_a_summary_where_there_is_one() -> None:
    book = Playbook(retrieval=["notes"]).given(say("one"))
    summary = Summary(through_id=book.state.messages[0].id, text="They count.")
    state = book.state.model_copy(update={"summaries": (summary,)})
    async with open_shelf() as shelf:
        await shelf.keep(1, "one")

        async def summarised(_context_id: str, _owner: str) -> ContextState:
            return state

        object.__setattr__(shelf.searches, "read", summarised)
        (told,) = await recalled(shelf, "memory", "x")
        assert told.text == "They count.\nuser: one"


async def test_what_comes_with_the_turns_messages_is_given_and_nothing_older() -> None:
    book = Playbook().given(record(("user", "old")), say("first"), replied("1"))
    read_this = say("second").model_copy(update={"metadata": {"context": "Read this.\nAll."}})
    book.given(read_this)
    (found,) = await given(book.state, "second")
    assert (found.source, found.title, found.text) == (
        *("given with the question", "Read this.", "Read this.\nAll."),
    )
    book.given(replied("2"), say("third"))
    assert await given(book.state, "third") == []
