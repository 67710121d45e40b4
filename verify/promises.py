"""Checks what became of messages that were sent during a turn, policy by policy.

Invariant: what a policy promises is told here in the terms of its users (`docs/api.md`): what
stands on the branch, in the tree, what is answered and how often; the log only says which turn
ran when a message came.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final as Constant

import orjson

from fsm import ContextState, Message, Phase, SendPolicy, branch_messages, decode_event, replay
from verify.findings import Findings
from verify.records import Log, Operation, Violation

_AT_REST: Constant = frozenset({Phase.IDLE, Phase.FAILED})
_GIVEN_UP: Constant = "work-abandoned"
"""After it a person has to go on; no policy promises anything."""


def check_policy(
    policy: SendPolicy, operations: Iterable[Operation], log: Log
) -> tuple[Violation, ...]:
    """What is wrong with a context to which messages of one policy were sent.

    Args:
        policy: Of all messages but the first.
        operations: Of all clients on this context.
        log: Of the context once it rests.
    """
    found = Findings()
    if all(event["kind"] != _GIVEN_UP for event in log.events):
        _Race(policy, [*operations], log, found).check()
    return found.violations()


@dataclass(frozen=True, slots=True)
class _Said:
    """A message that was taken."""

    content: str
    version: int
    during: str | None
    """Id of the turn that ran when it came; None: none."""


class _Race:
    """One context, and the messages that were sent to it."""

    def __init__(
        self, policy: SendPolicy, operations: Sequence[Operation], log: Log, found: Findings
    ) -> None:
        self._policy: SendPolicy = policy
        self._operations = operations
        self._id = log.context_id
        self._found = found
        self._states: list[ContextState] = []
        self._said: list[_Said] = []
        for version, event in enumerate(log.events, start=1):
            before = self._states[-1] if self._states else None
            if event["kind"] == "message-received":
                running = before and before.phase not in _AT_REST and before.turn
                during = running.id if running else None
                self._said.append(_Said(event["content"], version, during))
            self._states.append(replay([decode_event(orjson.dumps(event))], before))
        final = self._states[-1]
        self._tree = Counter(m.content for m in final.messages if m.role == "user")
        self._line = [m for m in branch_messages(final) if m.role != "system"]
        self._place = {
            message.content: place
            for place, message in enumerate(self._line)
            if message.role == "user"
        }
        self._waiting = {said.content for said in (*final.queue, *final.scheduled)}

    def _add(self, check: str, text: str, **evidence: object) -> None:
        self._found.add(check, self._id, text, policy=self._policy, **evidence)

    def check(self) -> None:
        """Hold every message to its policy."""
        for said in self._said:
            if self._tree[said.content] > 1:
                times = f"It is in the tree {self._tree[said.content]} times."
                self._add("duplicated", times, content=said.content)
            if said.content in self._waiting:
                self._add("stuck", "It waits though all is over.", content=said.content)
        match self._policy:
            case "enqueue":
                self._all_on_line(self._said)
                self._each_answered(self._said)
            case "reject":
                self._none_during_a_turn()
                self._all_on_line(self._said)
                self._each_answered(self._said)
                self._refused_for_a_reason()
            case "interrupt":
                self._all_on_line(self._said)
                self._cut_short()
            case "rollback":
                self._dropped_from_line()
            case "steer":
                self._all_on_line(self._said)
                self._steered()
            case "merge":
                self._all_on_line(self._said)
                self._together()
            case "latest":
                self._only_the_last()
        last = self._line[-1] if self._line else None
        if last is None or last.role != "assistant" or last.status != "complete":
            self._add("unanswered", "The last message has no whole answer.", last=repr(last))

    # What is on the branch

    def _all_on_line(self, wanted: Iterable[_Said]) -> None:
        """Check that all are on the branch, in the order in which they came."""
        places: list[int] = []
        for said in wanted:
            if said.content not in self._place:
                self._add("lost", "It is not on the branch.", content=said.content)
            else:
                places.append(self._place[said.content])
        if places != sorted(places):
            contents = [message.content for message in self._line]
            self._add("reordered", "They stand in another order.", line=contents)

    def _replies_to(self, content: str) -> list[Message]:
        """What follows on the branch until the user speaks again, but calls for tools."""
        replies: list[Message] = []
        place = self._place.get(content, len(self._line))
        for message in self._line[place + 1 :]:
            if message.role == "user":
                break
            if message.role == "assistant" and not message.tool_calls:
                replies.append(message)
        return replies

    def _each_answered(self, wanted: Iterable[_Said]) -> None:
        for said in wanted:
            self._answered_once(said)

    def _answered_once(self, said: _Said) -> None:
        if said.content not in self._place:
            return
        statuses = [reply.status for reply in self._replies_to(said.content)]
        if statuses != ["complete"]:
            text = f"It has {len(statuses)} answers: {', '.join(statuses)}."
            self._add("unanswered", text, content=said.content)

    # Policies

    def _none_during_a_turn(self) -> None:
        for said in self._said[1:]:
            if said.during is not None:
                self._add("taken-during-turn", "A turn ran.", content=said.content)

    def _refused_for_a_reason(self) -> None:
        """A turn ran at some moment between the call and the refusal."""
        for refused in self._operations:
            if refused.code != "turn-running" or refused.returned_s is None:
                continue
            before = [
                one.version
                for one in self._operations
                if one.version is not None
                and (one.returned_s or refused.called_s) < refused.called_s
            ]
            after = [
                one.version
                for one in self._operations
                if one.version is not None and one.called_s > refused.returned_s
            ]
            window = self._states[max(before, default=1) - 1 : min(after, default=None)]
            if all(state.phase in _AT_REST for state in window):
                self._add("refused-at-rest", "No turn ran.", operation=refused)

    def _cut_short(self) -> None:
        """Interrupted messages have no reply, or a part of one; the others a whole one."""
        for said, following in self._pairs():
            if said.content not in self._place:
                continue
            statuses = [reply.status for reply in self._replies_to(said.content)]
            cut = following is not None and following.during == self._turn_of(said)
            if statuses not in ([[], ["cancelled"]] if cut else [["complete"]]):
                text = f"It was {'' if cut else 'not '}interrupted; answers: {statuses}."
                self._add("not-interrupted", text, content=said.content)

    def _dropped_from_line(self) -> None:
        """Rolled-back messages are in the tree only; the others are on the branch."""
        kept: list[_Said] = []
        for said, following in self._pairs():
            if self._tree[said.content] != 1:
                self._add("lost", "It is not in the tree.", content=said.content)
            if following is not None and following.during == self._turn_of(said):
                if said.content in self._place:
                    self._add("not-rolled-back", "It is there.", content=said.content)
            else:
                kept.append(said)
        self._all_on_line(kept)
        self._each_answered(kept)

    def _steered(self) -> None:
        """What came before the tools had answered joined that turn; the others waited."""
        joined: set[_Said] = set()
        for turn_id, waited in self._came_during().items():
            ends = self._last_round_of(turn_id)
            early = [said for said in waited if said.version <= ends]
            joined |= {*early}
            if not early:
                continue
            begun = next(s for s in self._said if self._turn_of(s) == turn_id)
            if any(self._replies_to(said.content) for said in (begun, *early[:-1])):
                contents = [said.content for said in early]
                self._add("not-steered", "They did not join the turn.", contents=contents)
            self._answered_once(early[-1])
            joined.add(begun)
        self._each_answered(said for said in self._said if said not in joined)

    def _last_round_of(self, turn_id: str) -> int:
        """The last version at which tools of a turn were still waited for; 0: never."""
        return max(
            (
                state.version
                for state in self._states
                if state.phase is Phase.EXECUTING_TOOLS
                and state.turn is not None
                and state.turn.id == turn_id
            ),
            default=0,
        )

    def _together(self) -> None:
        """What came during one turn shares the next, and one answer."""
        for waited in self._came_during().values():
            places = [self._place[s.content] for s in waited if s.content in self._place]
            if places and places != [*range(places[0], places[0] + len(places))]:
                contents = [said.content for said in waited]
                self._add("not-merged", "They share no turn.", contents=contents)
            elif places:
                self._answered_once(waited[-1])
        self._each_answered(said for said in self._said if said.during is None)

    def _only_the_last(self) -> None:
        """Of what came during one turn the last stands on the branch; the others nowhere."""
        during = self._came_during()
        dropped = {said for waited in during.values() for said in waited[:-1]}
        for said in dropped:
            if self._tree[said.content]:
                self._add("not-dropped", "A later one has come.", content=said.content)
        kept = [said for said in self._said if said not in dropped]
        self._all_on_line(kept)
        self._each_answered(kept)

    # Turns

    def _pairs(self) -> list[tuple[_Said, _Said | None]]:
        return [*zip(self._said, [*self._said[1:], None], strict=True)]

    def _came_during(self) -> Mapping[str, Sequence[_Said]]:
        """What came while each turn ran, in order."""
        during: dict[str, list[_Said]] = defaultdict(list)
        for said in self._said:
            if said.during is not None:
                during[said.during].append(said)
        return during

    def _turn_of(self, said: _Said) -> str | None:
        """Id of the turn that a message may have begun: its own."""
        messages = self._states[-1].messages
        return next((m.id for m in messages if m.content == said.content), None)
