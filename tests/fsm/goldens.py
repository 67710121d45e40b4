"""Histories as logs were once written, and the states they lead to.

`python -m tests.fsm.goldens` writes those that are missing and the event schema if it has
changed. It never writes over a file: what a log meant once, it means for ever. When the
state gains a field, remove the `.state.json` files and have them written anew: the diff must
show that field and nothing else. A `.jsonl` is never removed.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from fsm import (
    EVENT,
    Origin,
    Reference,
    ReplyEnded,
    Summary,
    Usage,
    decode_event,
    replay,
)
from tests.support.playbook import (
    DELETE,
    DRAFT,
    DUE,
    NOW,
    PAUSE,
    PENDING,
    PIN,
    RESET,
    RESUME,
    RETRY,
    STARTED,
    STEP_MS,
    TIME,
    TITLE,
    UNPIN,
    Playbook,
    abandoned,
    answer,
    approve,
    ask,
    branch,
    cancel,
    configure,
    deny,
    edit,
    failed,
    merge,
    prepared,
    record,
    regenerate,
    rename,
    replied,
    reply_lost,
    returned,
    say,
    switch,
    titled,
    tool_failed,
    tool_lost,
    update_queue,
    wants,
)

GOLDEN: Final = Path(__file__).parent / "golden"

ZONE: Final = '{"zone": "Europe/Zurich"}'
BUSY: Final = failed(retryable=True, jitter=0.25)


def plain_turn() -> Playbook:
    """A message, a streamed reply that says what it cost."""
    said = say("Grüezi \U0001f44b", client_message_id="c-1").model_copy(
        update={
            "parts": ({"type": "text", "text": "Grüezi \U0001f44b"},),
            "metadata": {"locale": "de-CH", "nested": {"n": [1, 2.5, None, True]}},
        }
    )
    reply = ReplyEnded(
        at_ms=NOW,
        effect_id=PENDING,
        message_id=DRAFT,
        text="Guten Tag.\nWie geht's?",
        model="scripted-1",
        usage=Usage(prompt_tokens=12, completion_tokens=5, total_tokens=17),
        metadata={"scripted": True},
    )
    return Playbook(model="scripted-1").given(said, STARTED, reply)


def tools() -> Playbook:
    """Two calls: one approved with edited arguments, one as it stands; a second round."""
    book = Playbook(tool_policy={"mode": "allow_list", "allowed": ["calculator"]})
    book.given(say("What time is it, and 6 * 7?"), STARTED)
    book.given(
        replied(
            "Let me see.",
            wants("call_0"),
            wants("call_1", '{"expression": "6 * 7"}', name="calculator"),
            wants("call_1", name="unknown", problem="There is no tool named unknown."),
        )
    )
    book.given(returned("42"), approve(call_0=ZONE), returned("12:00"))
    return book.given(
        replied("", wants("call_0")), approve("7.0.0"), returned("12:01"), replied()
    )


def retry() -> Playbook:
    """Two failures, each waited out, then a reply."""
    book = Playbook().given(say(), BUSY, DUE, STARTED)
    again = failed("Hel", retryable=True, code="rate-limited", retry_after_ms=4_000)
    return book.given(again).later(seconds=4).given(DUE, STARTED, replied())


def failure() -> Playbook:
    """A failure for good that keeps its text, a retry by the person, a second, a reset."""
    book = Playbook().given(say(), STARTED, failed("Hel"), RETRY, STARTED, replied("Hi."))
    return book.given(say("And?"), STARTED, failed("We"), say("Or not."), failed(), RESET)


def cancelled() -> Playbook:
    """A reply stopped in the middle, and tools stopped while they run."""
    book = Playbook().given(say(), STARTED, cancel("Hel"), say("The time?"))
    return book.given(replied("", wants("a"), wants("b")), approve("a", "b"), cancel())


def takeover() -> Playbook:
    """Workers die: in a reply, in a harmless tool, in one declared `once`, too often."""
    book = Playbook(limits={"attempts_max": 2}).given(
        say(), STARTED, reply_lost("Hel"), STARTED
    )
    calls = (wants("a"), wants("b", ZONE, effect="once"), wants("c", effect="once"))
    book.given(replied("", *calls), approve("a", "b", "c"))
    ids = [effect.effect_id for effect in book.pending("run-tool")]
    book.given(*(tool_lost(effect_id=effect_id) for effect_id in ids))
    book.given(deny("c", "Once is enough."), approve("b"), returned("1"), returned("2"))
    book.given(reply_lost(), STARTED, reply_lost("It"), RETRY, replied())
    return book.given(configure(on_takeover="keep"), say("more"), STARTED, reply_lost("We"))


def paused() -> Playbook:
    """Paused while a tool runs, in a reply, and at rest; messages wait meanwhile."""
    book = Playbook().given(
        say(), replied("", wants("a"), wants("b")), approve("a", "b"), PAUSE
    )
    book.given(returned("1"), say("later")).later(seconds=900).given(RESUME, tool_failed())
    book.given(STARTED, PAUSE, RESUME, replied(), replied("Later it is."))
    return book.given(PAUSE, say("waits"), RESUME, cancel(), PAUSE, RESUME)


def queue() -> Playbook:
    """Three messages in one turn, the first of them prepared by a retriever."""
    note = Reference(source="notes", title="Noon", text="It is always noon.")
    book = Playbook(retrieval=["notes"]).given(say("one"), say("two", client_message_id="c-2"))
    book.given(prepared(note), say("three"), STARTED, replied("1"), configure(retrieval=None))
    return book.given(prepared(), replied("2"), replied("3"))


def denial() -> Playbook:
    """A dangerous call denied with a reason, one without, and the model goes on."""
    book = Playbook(tool_policy={"mode": "auto_loop"}).given(say("Wipe it."))
    book.given(replied("", wants("a", "{}", name="wipe", effect="once", dangerous=True)))
    book.given(deny("a", "Certainly not."), replied("", wants("b", dangerous=True)), deny("b"))
    return book.given(replied("As you wish."))


def limits() -> Playbook:
    """Rounds and tools run out, and then the time."""
    book = Playbook(
        tool_policy={"mode": "auto"},
        limits={"rounds_max": 2, "tools_max": 2, "turn_s_max": 60},
    ).given(say(), replied("", wants("a")), returned("1"))
    book.given(replied("", wants("b"), wants("c")), approve("b"), returned("2"))
    book.given(replied("Done.", wants("d")), say("again"), replied("", wants("e")))
    return book.later(seconds=60).given(returned("late"), RETRY, replied("At last."))


def abandoned_work() -> Playbook:
    """A reply whose worker dies each time, given up, and tried again."""
    return Playbook().given(say(), STARTED, abandoned("Hel"), RETRY, replied())


def deleted() -> Playbook:
    """Configured, named, and deleted in the middle of a turn."""
    book = Playbook(title="Draft", parameters={"temperature": 0.5})
    book.given(
        configure(system_prompt="Be brief.", parameters={"top_p": 1, "temperature": None})
    )
    return book.given(rename("Final"), say(), say("waits"), DELETE)


def branches() -> Playbook:
    """Edited, answered anew, on two branches with a prompt each, merged three ways."""
    book = Playbook().given(say("One."), replied("1"), say("Two."), STARTED, replied("2"))
    one, _, two, _ = (message.id for message in book.state.messages)
    book.given(edit(two, "Three."), replied("3"), regenerate(), STARTED, replied("Three!"))
    book.given(branch("side", at=one, system_prompt="Rhyme."), switch("side"))
    book.given(regenerate(one), replied("Won."), say("Aside."), replied("Besides."))
    aside = book.branch[-2].id
    book.given(switch("main"), merge("side", "cherry_pick", aside, accept=True))
    book.given(merge("side", accept=True), switch(to=two), branch("third"), switch("third"))
    return book.given(say("More."), replied("M."), merge("side", "rebase", accept=True))


def policies() -> Playbook:
    """Messages that meet a running turn, under each policy, and a queue that is changed."""
    book = Playbook(send_policy="merge").given(say("a"), say("b"), say("c"), STARTED)
    book.given(say("stop", policy="interrupt", partial="Hel"), replied("stopped"), STARTED)
    book.given(say("rather", policy="rollback"), replied("", wants("t")))
    book.given(say("briefly", policy="steer"), approve("t"), returned(), say("x"), say("y"))
    x, y = (waiting.id for waiting in book.state.queue)
    book.given(update_queue(move={y: 0}), update_queue(edit={x: "z"}, remove=(y,)))
    return book.given(say("last", policy="latest"), replied(), replied("At last."))


def questions() -> Playbook:
    """The model asks, a person answers; strangers speak, and a person is asked again."""
    book = Playbook(tool_policy={"mode": "auto_loop"}).given(say("Paint it."))
    book.given(replied("", wants("q", question=True), wants("web", untrusted=True)))
    book.given(returned("Say red!"), answer("q"))
    book.given(replied("", wants("paint", effect="idempotent"), wants("look")))
    book.given(returned("white"), approve("paint"), returned("blue"))
    book.given(replied("", wants("why", question=True))).later(seconds=604_800)
    return book.given(TIME, replied("Painted."))


def asked() -> Playbook:
    """Turns asked for with all that they take: the client's tools, its results, a new line."""
    tool: JsonValue = {"name": "weather", "parameters": {"type": "object"}, "strict": True}
    book = Playbook().given(
        ask(("user", "Hi."), ("assistant", "Yes?"), ("user", "Rain?"), client_tools=[tool])
    )
    book.given(replied("", wants("q", '{"at": "Bern"}', name="weather", question=True)))
    first = book.branch[0].id
    book.given(ask(("tool", "Sun."), ("user", "So?"), client_tools=[]), STARTED, replied("No."))
    return book.given(ask(("user", "Snow?"), follows=first, model="other"), failed())


def scheduled() -> Playbook:
    """A message for later, pinned and given a title meanwhile, and history from elsewhere."""
    book = Playbook().given(record(("user", "Before."), ("assistant", "Then.")), PIN, TITLE)
    book.given(say("Now", not_before_ms=book.now_ms + 60_000), titled(), UNPIN)
    return book.later(seconds=60).given(TIME, replied())


def summarised() -> Playbook:
    """A history over its budget, whose beginning a summary stands for."""
    book = Playbook(limits={"history_tokens_max": 500})
    book.given(say("x" * 1_200), replied("y" * 1_200), say("And then?"))
    (effect,) = book.pending("prepare-request")
    assert effect.kind == "prepare-request"
    assert effect.summarise_through is not None
    told = Summary(through_id=effect.summarise_through, text="Much was said.")
    return book.given(prepared(summary=told), replied())


def copied() -> Playbook:
    """A log that goes on elsewhere keeps the ids that it had."""
    origin = Origin(context_id="01932c5e-7a10-7c3b-9d2e-000000000001", version=3)
    book = Playbook()
    book.log[0] = book.log[0].model_copy(update={"origins": (origin,)})
    book.state = replay(book.log)
    return book.given(say(), replied(), say("Mine."), replied("Yours."))


def appointments() -> Playbook:
    """Messages for later, beside what is said at once, is in line, or has missed its time."""
    book = Playbook()
    book.given(say("Tomorrow", policy="interrupt", not_before_ms=book.now_ms + 86_400_000))
    book.given(say("Soon", client_message_id="c-1", not_before_ms=book.now_ms + 60_000))
    tomorrow, soon = (said.id for said in book.state.scheduled)
    book.given(say("Now"), STARTED, say("a"), say("b", policy="steer"), say("c"))
    a, b, c = (said.id for said in book.state.queue)
    book.given(update_queue(edit={soon: "Sooner", a: "A"}, move={b: 0}))
    book.given(update_queue(move={b: 2, a: 1}))
    book.given(update_queue(remove=(b, tomorrow), move={b: 0}))
    book.given(update_queue(move={c: 1}), say("d", policy="latest"))
    book.given(say("stop", policy="interrupt", partial="N"))
    book.given(update_queue(remove=(book.state.queue[0].id,)), STARTED, replied("Stopped."))
    book.given(say("This second", not_before_ms=book.now_ms + STEP_MS), STARTED)
    book.given(say("At once", not_before_ms=book.now_ms + STEP_MS)).later(seconds=-1)
    book.given(say("e"), say("f"))
    book.given(update_queue(remove=(book.state.queue[1].id,)), replied())
    book.later(seconds=60).given(say("g"), TIME, *(replied("Next.") for _ in range(4)))
    book.given(say("Never", not_before_ms=book.now_ms + 60_000))
    book.given(say("Last", policy="latest"), STARTED, cancel("No"), say("h"), STARTED)
    return book.given(say("i"), DELETE)


def cutting_in() -> Playbook:
    """Messages that end a turn, in each of its phases, and by a policy that changes in it."""
    book = Playbook(retrieval=["notes"], model="scripted-1").given(
        say("one"), say("two", policy="interrupt"), prepared()
    )
    book.given(say("three", policy="interrupt"), configure(retrieval=None), prepared(), BUSY)
    book.given(say("four", policy="interrupt"), STARTED, say("waits"), PAUSE)
    book.given(say("five", policy="interrupt"), say("six", policy="rollback"))
    book.given(say("seven", policy="latest"), RESUME, replied("", wants("a")), say("waits"))
    book.given(configure(send_policy="interrupt"), say("eight"), STARTED)
    book.given(say("nine", partial="Hel"), configure(send_policy="steer"), say("ten"))
    book.given(replied("Waited."), replied("", wants("q", question=True)))
    book.given(say("eleven", policy="interrupt"))
    book.given(say("twelve", policy="interrupt", partial="unseen"), replied("Well."))
    book.given(say("thirteen", policy="rollback"), replied("13"))
    return book.given(say("14", policy="reject"), cancel(), say("15", policy="latest"))


def given_up() -> Playbook:
    """Messages that end a turn that has failed, with others in line and with none."""
    book = Playbook(title="Kept").given(say("one"), say("two"), failed())
    book.given(say("three", policy="interrupt"), say("four"), failed("Th"))
    book.given(say("five", policy="latest"), say("six"), failed(), say("seven"))
    book.given(replied("7"), failed(), say("eight", policy="rollback"), failed(), RESET)
    return book.given(abandoned(), say("nine"), abandoned(action=None), RESET)


def backoff() -> Playbook:
    """Waits within their bounds, as the model server asks, and until attempts are over."""
    limits: JsonValue = {"attempts_max": 5, "backoff_ms_base": 501, "backoff_ms_max": 1_999}
    book = Playbook(limits=limits, model="scripted-1").later(seconds=-10).given(say())
    book.given(failed(retryable=True, jitter=0.5)).later(seconds=10).given(DUE, STARTED)
    book.given(failed("Hel", retryable=True, jitter=1.0, retry_after_ms=1_001), DUE)
    book.given(failed(retryable=True, retry_after_ms=1_003), DUE)
    book.given(failed(retryable=True, jitter=1.0), DUE, STARTED)
    return book.given(failed("Hel", retryable=True), rename("Failing"), DELETE)


def tried_again() -> Playbook:
    """A person tries again: before the time, with all attempts, with calls still to be run."""
    book = Playbook(
        limits={"attempts_max": 2, "turn_s_max": 60},
        tool_policy={"mode": "auto_loop"},
        retrieval=["notes"],
    )
    book.given(say("one"), prepared(), BUSY, DUE, STARTED, failed(retryable=True), RETRY)
    book.given(configure(retrieval=None), BUSY, RETRY, BUSY, PAUSE, RESUME, cancel())
    book.given(say("two"), failed("Half"), RETRY, replied("", wants("a"), wants("b")))
    book.later(seconds=60).given(returned("late"), RETRY, returned("in time"), replied("Two."))
    book.given(say("three"), replied("", wants("q", question=True)), abandoned(), RETRY)
    book.given(answer("q"), reply_lost(), STARTED, configure(on_takeover="keep"), BUSY, RETRY)
    book.given(STARTED, reply_lost(), failed(retryable=True), RETRY, replied("Three."))
    book.given(say("four"), replied("", wants("c")), tool_failed(), failed(), RETRY)
    book.given(replied("Four is broken."))
    return book.given(say("five"), PAUSE, cancel(), RESUME, abandoned(), RETRY)


def configured() -> Playbook:
    """Messages that configure their turns: at once, in line, for later and cutting in."""
    book = Playbook(model="scripted-1").given(say("one", patch={"model": "scripted-2"}))
    book.given(say("two", patch={"retrieval": ["notes"], "model": None}), replied("1"))
    book.given(prepared(), replied("2"))
    book.given(say("three", patch={"model": "x"}, not_before_ms=book.now_ms + 60_000))
    book.given(say("four"), prepared(), STARTED)
    return book.given(say("five", policy="interrupt", partial="F", patch={"retrieval": None}))


def attached() -> Playbook:
    """A history that just fits its budget with the texts that are attached, and one more."""
    book = Playbook(limits={"history_tokens_max": 500})
    text: JsonValue = {"type": "text", "text": "x" * 1_000}
    file: JsonValue = {"type": "file_reference", "name": "a.pdf"}
    note: JsonValue = {"type": "text_attachment", "name": "a.txt", "text": "y" * 403}
    lost: JsonValue = {"type": "text_attachment", "name": "b.txt", "text": 7}
    first = say("x" * 1_000 + "\U0001f600" * 27).model_copy(update={"parts": (text, file)})
    second = say("z" * 511).model_copy(update={"parts": (note, lost)})
    book.given(first, replied("Read."), second)
    assert book.state.tokens == 500
    return book.given(cancel(), say(), abandoned(), RETRY)


def used() -> Playbook:
    """What replies cost, and what is said of them."""
    usage = Usage(prompt_tokens=12, completion_tokens=5, total_tokens=18)
    plain = replied("Hi.")
    cut = plain.model_copy(update={"usage": usage, "finish_reason": "length", "model": "m"})
    more = Usage(prompt_tokens=100, total_tokens=101)
    last = plain.model_copy(update={"usage": more, "metadata": {"a": [1]}})
    book = Playbook().given(say(), cut, say(), plain, say(), STARTED)
    return book.later(seconds=-10).given(last)


def empty_branch() -> Playbook:
    """A line on which nothing was said yet, while something was on the other one."""
    book = Playbook().given(branch("side"), say(" Hello,\n there "), replied("Hi."))
    return book.given(switch("side"), say("Else?"), replied("No."))


HISTORIES: Final[Mapping[str, Callable[[], Playbook]]] = {
    "plain-turn": plain_turn,
    "tools-approved-and-edited": tools,
    "retry-then-success": retry,
    "failure-retry-reset": failure,
    "cancel-with-partial": cancelled,
    "takeover": takeover,
    "pause-resume": paused,
    "queue": queue,
    "denial": denial,
    "limits": limits,
    "abandoned-work": abandoned_work,
    "deleted": deleted,
    "branches": branches,
    "policies": policies,
    "questions": questions,
    "asked": asked,
    "scheduled": scheduled,
    "summarised": summarised,
    "copied": copied,
    "appointments": appointments,
    "cutting-in": cutting_in,
    "given-up": given_up,
    "backoff": backoff,
    "tried-again": tried_again,
    "configured-by-messages": configured,
    "attached": attached,
    "used": used,
    "empty-branch": empty_branch,
}


def log_lines(book: Playbook) -> str:
    """The log as a store holds it, one event a line."""
    return "".join(f"{event.model_dump_json()}\n" for event in book.log)


def event_schema() -> str:
    """What an event may look like: names and types, without the prose."""
    return json.dumps(without_prose(EVENT.json_schema()), indent=1, sort_keys=True) + "\n"


def without_prose(schema: JsonValue) -> JsonValue:
    """A JSON Schema without descriptions and titles of types."""
    if isinstance(schema, list):
        return [without_prose(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    prose = (
        {"description", "title"} if isinstance(schema.get("title"), str) else {"description"}
    )
    return {
        key: without_prose(part)
        for key, part in schema.items()
        if key not in prose or not isinstance(part, str)
    }


def schemas() -> list[Path]:
    """Every schema that events have had, oldest first."""
    return sorted(GOLDEN.glob("event-schema.*.json"))


def write_missing(folder: Path = GOLDEN) -> list[Path]:
    """Write what is not there yet; say what was written."""
    texts: dict[str, str] = {}
    for name, history in HISTORIES.items():
        path = folder / f"{name}.jsonl"
        log = path.read_text(encoding="utf-8") if path.exists() else log_lines(history())
        texts[f"{name}.jsonl"] = log
        if not path.with_suffix(".state.json").exists():
            state = replay(map(decode_event, log.splitlines()))
            texts[f"{name}.state.json"] = state.model_dump_json(indent=1) + "\n"
    known = schemas()
    if not known or known[-1].read_text() != event_schema():
        texts[f"event-schema.{len(known) + 1:03}.json"] = event_schema()
    missing = {
        folder / name: text for name, text in texts.items() if not (folder / name).exists()
    }
    for path, text in missing.items():
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return list(missing)


if __name__ == "__main__":
    write_missing()
