"""The graph of a conversation: how its messages, branches and origins are related.

A graph is computed from the state each time; nothing of it is stored.
"""

from collections.abc import Collection, Mapping
from typing import Final, Literal

from fsm.state import ContextState, Message, Value

STEPS: Final = 2
"""How far from a message its neighbourhood goes."""
NODES_MAX: Final = 100
"""Most nodes of one neighbourhood; the messages furthest away are left out first."""
NAME_CHARS_MAX: Final = 200
"""How much of a message its node shows."""

NodeKind = Literal["context", "branch", "message"]
EdgeKind = Literal["holds", "follows", "replaces", "copy_of", "ends_with", "made_from"]
"""A context holds messages and branches and is made from others; a message follows, replaces
or is a copy of another; a branch ends with one."""


class Node(Value):
    """A message, a branch or a context."""

    id: str
    """`<context id>`, `<context id>/<message id>` or `<context id>#<branch>`: a fork has
    messages of the same ids as its origin."""
    kind: NodeKind
    context_id: str
    message_id: str | None = None
    role: Literal["system", "user", "assistant", "tool"] | None = None
    name: str
    """Title, name of the branch, or how the message begins."""


class Edge(Value):
    """One node's relation to another."""

    source: str
    target: str
    kind: EdgeKind


class Graph(Value):
    """Nodes and what is between them."""

    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()


def graph_around(state: ContextState, message_ids: Collection[str]) -> Graph:
    """The neighbourhood of some messages, in the order in which they were said.

    Ids that the context does not have are passed over; without any that it has, the graph
    is empty.
    """
    messages = {message.id: message for message in state.messages}
    found = [message_id for message_id in message_ids if message_id in messages]
    if not found:
        return Graph()
    near = _near(messages, found)
    shown = [message for message in state.messages if message.id in near]
    nodes = [Node(id=state.id, kind="context", context_id=state.id, name=state.title)]
    edges: list[Edge] = []
    for origin in state.origins:
        nodes.append(
            Node(id=origin.context_id, kind="context", context_id=origin.context_id, name="")
        )
        edges.append(Edge(source=state.id, target=origin.context_id, kind="made_from"))
    for message in shown:
        nodes.append(_node(state, message))
        edges += [
            Edge(source=_id(state, message.id), target=_id(state, other), kind=kind)
            for kind, other in _relations(message)
            if other in near
        ]
    for message_id in found:
        if message_id in near:
            edges.append(Edge(source=state.id, target=_id(state, message_id), kind="holds"))
    for name, branch in state.branches.items():
        if branch.head is not None and branch.head in near:
            branch_id = f"{state.id}#{name}"
            nodes.append(Node(id=branch_id, kind="branch", context_id=state.id, name=name))
            edges += (
                Edge(source=state.id, target=branch_id, kind="holds"),
                Edge(source=branch_id, target=_id(state, branch.head), kind="ends_with"),
            )
    return Graph(nodes=tuple(nodes), edges=tuple(edges))


def _near(messages: Mapping[str, Message], found: Collection[str]) -> frozenset[str]:
    """Ids of the messages up to STEPS relations away, the nearest NODES_MAX."""
    beside: dict[str, list[str]] = {}
    for message in messages.values():
        for _, other in _relations(message):
            beside.setdefault(message.id, []).append(other)
            beside.setdefault(other, []).append(message.id)
    near = dict.fromkeys(found)
    outermost = list(near)
    for _ in range(STEPS):
        reached = [other for one in outermost for other in beside.get(one, ())]
        outermost = [other for other in dict.fromkeys(reached) if other not in near]
        near |= dict.fromkeys(outermost)
    return frozenset(list(near)[:NODES_MAX])


def _relations(message: Message) -> list[tuple[EdgeKind, str]]:
    named: list[tuple[EdgeKind, str | None]] = [
        ("follows", message.parent_id),
        ("replaces", message.replaces),
        ("copy_of", message.copy_of),
    ]
    return [(kind, other) for kind, other in named if other is not None]


def _node(state: ContextState, message: Message) -> Node:
    return Node(
        id=_id(state, message.id),
        kind="message",
        context_id=state.id,
        message_id=message.id,
        role=message.role,
        name=" ".join(message.content.split())[:NAME_CHARS_MAX],
    )


def _id(state: ContextState, message_id: str) -> str:
    return f"{state.id}/{message_id}"
