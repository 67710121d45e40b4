"""The page about the machine says what the machine does."""

from pathlib import Path

from fsm import TRANSITIONS, Phase
from fsm.diagram import kind, mermaid, page, table_markdown

PAGE = Path(__file__).parents[2] / "docs" / "machine.md"


def test_the_page_is_the_one_that_the_table_makes() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "run python -m fsm.diagram > docs/machine.md"
    )


def test_the_diagram_shows_every_change_of_phase_once() -> None:
    arrows = [line.strip() for line in mermaid().splitlines() if " --> " in line]
    drawn = {tuple(arrow.split(":")[0].split(" --> ")) for arrow in arrows}
    assert len(drawn) == len(arrows)
    expected = {
        (phase.value, to.value)
        for phase, rules in TRANSITIONS.items()
        for rule in rules.values()
        for to in rule.to
        if to is not phase and to is not Phase.DELETED
    }
    assert drawn == {*expected, ("[*]", "idle"), ("deleted", "[*]")}


def test_the_diagram_names_what_leads_along_each_arrow() -> None:
    assert "    idle --> paused: pause-requested\n" in mermaid()
    assert "    preparing_request --> awaiting_llm_response: request-prepared" in mermaid()
    assert (
        "    note right of deleted: context-deleted leads here from everywhere\n" in mermaid()
    )


def test_the_table_has_one_row_for_each_pair() -> None:
    rows = table_markdown().splitlines()[2:]
    pairs = [
        f"| `{phase}` | `{kind(event)}` |"
        for phase, rules in TRANSITIONS.items()
        for event in rules
    ]
    assert [row.startswith(pair) for row, pair in zip(rows, pairs, strict=True)] == [
        True
    ] * len(pairs)
    assert (
        "| `executing_tools` | `approval-given` | `approve_tools` | nowhere: nothing changes |"
        in rows
    )
    assert "| `transient_failure` | `retry-due` |  | `awaiting_llm_response` |" in rows
