"""Retrievers over what the owner has said in other contexts: words, structure, gist.

search    passages that share words with the query, and notes
graph     what those passages hang together with: questions, replies, versions, branches
memory    what the contexts spoken in last were about, whatever the query
"""

from collections.abc import Mapping, Sequence
from typing import Final

from fsm import ContextState, Graph, Reference, branch_messages, graph_around, summary_of
from workers.tools.config import SearchConfig
from workers.tools.retrieval import Retriever, note_title
from workers.tools.search import NOTES, Found, Searches

_SCORE_DIGITS: Final = 6
_GIST_CHARS_MAX: Final = 300
"""Of each message that memory tells of."""
_SUMMARY_CHARS_MAX: Final = 1_000


def recall_retrievers(searches: Searches, config: SearchConfig) -> Mapping[str, Retriever]:
    """Return the retrievers over a worker's searches, by name."""

    async def search(asking: ContextState, query: str) -> Sequence[Reference]:
        return [_quoted(found) for found in await searches.find(asking, query)]

    async def graph(asking: ContextState, query: str) -> Sequence[Reference]:
        found = [one for one in await searches.find(asking, query) if one.match.home != NOTES]
        references: list[Reference] = []
        for context_id in dict.fromkeys(one.match.home for one in found):
            state = await searches.read(context_id, asking.owner)
            if state is None:
                continue
            references += [_placed(one, state) for one in found if one.match.home == context_id]
        return references

    async def memory(asking: ContextState, _query: str) -> Sequence[Reference]:
        references: list[Reference] = []
        for context_id, _ in await searches.others(asking):
            if len(references) == config.memory_contexts_max:
                break
            state = await searches.read(context_id, asking.owner)
            if state is not None and (gist := _gist(state)):
                reference = Reference(
                    source=f"earlier context {state.id}",
                    title=state.title,
                    text=gist,
                    context_id=state.id,
                )
                references.append(reference)
        return references

    return {"search": search, "graph": graph, "memory": memory}


def _quoted(found: Found) -> Reference:
    match = found.match
    score = round(match.score, _SCORE_DIGITS)
    if match.home == NOTES:
        return Reference(
            source=f"note {match.item}",
            title=note_title(match.text),
            text=match.text,
            score=score,
        )
    return Reference(
        source=f"{match.role} in context {match.home}",
        title=found.title,
        text=match.text,
        context_id=match.home,
        message_id=match.item,
        score=score,
    )


def _placed(found: Found, state: ContextState) -> Reference:
    match = found.match
    return Reference(
        source=f"tree of context {state.id}",
        title=state.title,
        text=_told(graph_around(state, [match.item]), state),
        context_id=state.id,
        message_id=match.item,
        score=round(match.score, _SCORE_DIGITS),
    )


def _told(graph: Graph, state: ContextState) -> str:
    """A neighbourhood in words: messages by number, and how they are related."""
    numbers = {
        node.id: f"#{number}"
        for number, node in enumerate(
            (node for node in graph.nodes if node.kind == "message"), start=1
        )
    }
    lines: list[str] = []
    for node in graph.nodes:
        related = [
            f"{edge.kind.replace('_', ' ')} {numbers.get(edge.target, edge.target)}"
            for edge in graph.edges
            if edge.source == node.id and edge.kind != "holds"
        ]
        shown = f" ({', '.join(related)})" if related else ""
        match node.kind:
            case "message":
                lines.append(f"{numbers[node.id]} {node.role}{shown}: {node.name}")
            case "branch":
                active = "active branch" if node.name == state.active_branch else "branch"
                lines.append(f"{active} {node.name}{shown}")
            case "context":
                if related:
                    lines.append(f"this context{shown}")
    return "\n".join(lines)


def _gist(state: ContextState) -> str:
    """What a context was about: its summary, and what was said in it last."""
    summary = summary_of(state)
    lines = [summary.text[:_SUMMARY_CHARS_MAX]] if summary else []
    line = branch_messages(state)
    for role in ("user", "assistant"):
        said = next((m for m in reversed(line) if m.role == role and m.content), None)
        if said is not None:
            lines.append(f"{role}: {' '.join(said.content.split())[:_GIST_CHARS_MAX]}")
    return "\n".join(lines)
