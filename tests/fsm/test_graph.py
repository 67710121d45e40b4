"""The tree as a graph: what a message hangs together with."""

from typing import Literal

from fsm import Graph, Node, Origin, graph_around
from fsm.graph import NODES_MAX, STEPS
from tests.support.playbook import (
    CONTEXT_ID,
    Playbook,
    branch,
    merge,
    record,
    regenerate,
    replied,
    say,
    switch,
)


def edges(graph: Graph) -> set[tuple[str, str, str]]:
    """Each edge in the names of its nodes."""
    names = {node.id: node.name for node in graph.nodes}
    return {(names[edge.source], edge.kind, names[edge.target]) for edge in graph.edges}


def monologue(count: int) -> list[tuple[Literal["user"], str]]:
    """Messages named by their number."""
    return [("user", str(number)) for number in range(count)]


def messages(graph: Graph) -> list[str]:
    """Names of the messages, in order."""
    return [node.name for node in graph.nodes if node.kind == "message"]


def test_a_message_stands_between_what_it_follows_and_what_follows_it() -> None:
    book = Playbook(title="Tea").given(say("one"), replied("1"), say("two"), replied("2"))
    graph = graph_around(book.state, [book.branch[1].id])
    assert messages(graph) == ["one", "1", "two", "2"]
    assert edges(graph) == {
        *(("1", "follows", "one"), ("two", "follows", "1"), ("2", "follows", "two")),
        *(("Tea", "holds", "1"), ("Tea", "holds", "main"), ("main", "ends_with", "2")),
    }


def test_the_neighbourhood_ends_after_some_steps() -> None:
    book = Playbook().given(record(*monologue(20)))
    graph = graph_around(book.state, [book.branch[10].id])
    assert messages(graph) == [str(n) for n in range(10 - STEPS, 11 + STEPS)]
    assert [node.kind for node in graph.nodes if node.kind != "message"] == ["context"]


def test_other_versions_and_copies_are_linked() -> None:
    book = Playbook().given(say("one"), replied("1"), regenerate(), replied("I"))
    again = book.state.messages[2]
    assert ("I", "replaces", "1") in edges(graph_around(book.state, [again.id]))

    book = Playbook().given(say("one"), replied("1"), branch("side"), switch("side"))
    book.given(say("aside"), replied("2"), switch("main"), merge("side"))
    copy = next(message for message in book.state.messages if message.copy_of)
    graph = graph_around(book.state, [copy.id])
    assert ("aside", "copy_of", "aside") in edges(graph)
    assert {node.name for node in graph.nodes if node.kind == "branch"} == {"main", "side"}


def test_a_context_names_the_one_that_it_was_made_from() -> None:
    book = Playbook().given(say("one"))
    origin = Origin(context_id="01932c5e-7a10-7c3b-9d2e-000000000001", version=1)
    state = book.state.model_copy(update={"origins": (origin,)})
    graph = graph_around(state, [book.branch[0].id])
    assert Node(
        id=origin.context_id, kind="context", context_id=origin.context_id, name=""
    ) in (graph.nodes)
    made = [edge for edge in graph.edges if edge.kind == "made_from"]
    assert [(edge.source, edge.target) for edge in made] == [(CONTEXT_ID, origin.context_id)]


def test_every_edge_is_between_nodes_that_are_there_and_ids_are_of_one_node() -> None:
    count = NODES_MAX + 50
    book = Playbook().given(record(*monologue(count)))
    graph = graph_around(book.state, [message.id for message in book.branch])
    ids = [node.id for node in graph.nodes]
    assert len(ids) == len(set(ids))
    assert len(messages(graph)) == NODES_MAX
    assert {end for edge in graph.edges for end in (edge.source, edge.target)} <= set(ids)


def test_without_a_message_that_is_there_the_graph_is_empty() -> None:
    book = Playbook().given(say("one"))
    assert graph_around(book.state, []) == Graph()
    assert graph_around(book.state, ["nowhere"]) == Graph()


def test_a_long_message_is_named_by_its_beginning_on_one_line() -> None:
    book = Playbook().given(say("line one\n\nline two " + "x" * 1_000))
    (node,) = [n for n in graph_around(book.state, [book.branch[0].id]).nodes if n.message_id]
    assert node.name.startswith("line one line two xxx")
    assert len(node.name) == 200
