"""The page that shows the machine, made of the transition table and nothing else.

`python -m fsm.diagram > docs/machine.md` writes it; a test holds the page to the table.
"""

from collections.abc import Iterable, Mapping

from fsm.events import Action, Event
from fsm.machine import RESTING, TRANSITIONS
from fsm.state import Phase

INTRODUCTION = """\
# The machine

Made of `TRANSITIONS` in `fsm/machine.py` by `python -m fsm.diagram > docs/machine.md`. A
pair of phase and event that is not here is refused, and an answer to an effect that is no
longer pending is stale, whatever the phase.
"""


def kind(event: type[Event]) -> str:
    """The event's name in the log."""
    name = event.model_fields["kind"].default
    assert isinstance(name, str)
    return name


def mermaid() -> str:
    """A state diagram: one arrow for each pair of phases, named after what leads along it.

    What leaves the phase as it is (waiting messages, configuration) is in the table only, and
    what leads from every other phase to the same one is a note beside that phase.
    """
    labels: dict[tuple[Phase, Phase], list[str]] = {}
    for phase, rules in TRANSITIONS.items():
        for event, rule in rules.items():
            for to in in_order(rule.to - {phase}):
                labels.setdefault((phase, to), []).append(kind(event))
    lines = ["stateDiagram-v2", "    [*] --> idle: context-created"]
    everywhere = from_everywhere()
    for (phase, to), names in labels.items():
        if drawn := [name for name in names if name not in everywhere.get(to, ())]:
            lines.append(f"    {phase} --> {to}: {', '.join(drawn)}")
    for to, names in everywhere.items():
        lines.append(f"    note right of {to}: {', '.join(names)} leads here from everywhere")
        if not TRANSITIONS[to]:
            lines.append(f"    {to} --> [*]")
    return "\n".join(lines) + "\n"


def from_everywhere() -> Mapping[Phase, list[str]]:
    """The events that lead from every other phase to one and the same, by that phase."""
    found: dict[Phase, list[str]] = {}
    for to in Phase:
        others = [rules for phase, rules in TRANSITIONS.items() if phase is not to]
        for event in others[0]:
            if all(event in rules and rules[event].to == frozenset({to}) for rules in others):
                found.setdefault(to, []).append(kind(event))
    return found


def table_markdown() -> str:
    """Every accepted pair: the phase, what may happen there, and where it leads."""
    lines = [
        "| in | what happens | action | leads to |",
        "|---|---|---|---|",
    ]
    for phase, rules in TRANSITIONS.items():
        for event, rule in rules.items():
            action = f"`{event.action}`" if issubclass(event, Action) else ""
            leads = (
                ", ".join(f"`{to}`" for to in in_order(rule.to)) or "nowhere: nothing changes"
            )
            lines.append(f"| `{phase}` | `{kind(event)}` | {action} | {leads} |")
    return "\n".join(lines) + "\n"


def events_markdown() -> str:
    """What each event of the table means."""
    events = {event: None for rules in TRANSITIONS.values() for event in rules}
    lines = ["| event | meaning |", "|---|---|"]
    for event in sorted(events, key=kind):
        meaning = (event.__doc__ or "").split("\n", maxsplit=1)[0]
        lines.append(f"| `{kind(event)}` | {meaning} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """All of docs/machine.md."""
    resting = ", ".join(f"`{phase}`" for phase in in_order(RESTING))
    return "\n".join(
        (
            INTRODUCTION,
            f"```mermaid\n{mermaid()}```\n",
            f"A context rests in {resting}, once nothing is pending there.\n",
            "## Every accepted pair\n",
            table_markdown(),
            "## Events\n",
            events_markdown().rstrip("\n"),
            "",
        )
    )


def in_order(phases: Iterable[Phase]) -> list[Phase]:
    """Phases as they are listed in `Phase`."""
    wanted = frozenset(phases)
    return [phase for phase in Phase if phase in wanted]


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201 - the page is written by redirecting this
