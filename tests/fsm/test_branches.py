"""The tree: other versions of a message, named lines through it, merges."""

from fsm import Phase
from tests.support.playbook import (
    STARTED,
    Playbook,
    approve,
    branch,
    edit,
    failed,
    merge,
    record,
    regenerate,
    replied,
    returned,
    say,
    switch,
    wants,
)

AWAITING = Phase.AWAITING_LLM_RESPONSE


def talked() -> Playbook:
    """Two turns."""
    return Playbook().given(say("one"), replied("1"), say("two"), replied("2"))


def ids(book: Playbook) -> list[str]:
    """Ids along the active branch."""
    return [message.id for message in book.branch]


def texts(book: Playbook) -> list[str]:
    """What is said along the active branch."""
    return [message.content for message in book.branch]


def test_an_edit_is_a_sibling_that_the_model_answers() -> None:
    book = talked()
    two = ids(book)[2]
    book.when(edit(two, "deux"))
    book.then(AWAITING, book.call_model())
    assert texts(book) == ["one", "1", "deux"]
    assert book.branch[-1].replaces == two
    assert book.branch[-1].parent_id == book.state.messages[1].id
    assert [m.content for m in book.state.messages] == ["one", "1", "two", "2", "deux"]


def test_the_first_message_can_be_edited() -> None:
    book = talked().given(edit(ids(talked())[0], "uno"))
    assert texts(book) == ["uno"]


def test_only_a_message_of_the_user_can_be_edited() -> None:
    book = talked()
    assert book.refuses(edit(ids(book)[1])).code == "unknown-message"
    assert book.refuses(edit("nowhere")).code == "unknown-message"


def test_a_failed_turn_is_left_by_an_edit() -> None:
    book = Playbook().given(say("one"), failed("Hel"))
    book.when(edit(ids(book)[0], "uno"))
    book.then(AWAITING, book.call_model())
    assert book.state.failure is None


def test_regenerate_gives_another_alternative_of_the_last_reply() -> None:
    book = talked()
    reply = ids(book)[-1]
    book.when(regenerate())
    book.then(AWAITING, book.call_model())
    book.given(STARTED, replied("II"))
    assert texts(book) == ["one", "1", "two", "II"]
    assert book.branch[-1].replaces == reply
    assert book.branch[-1].parent_id == book.branch[-2].id


def test_regenerate_of_a_reply_after_tools_shows_the_model_their_results() -> None:
    book = Playbook().given(say("one"), replied("", wants("a")), approve("a"))
    book.given(returned("noon"), replied("It is noon.")).given(regenerate())
    assert [role for role, _, _ in book.said] == ["user", "assistant", "tool"]


def test_only_the_first_reply_of_a_regenerated_turn_stands_for_the_old_one() -> None:
    book = Playbook().given(say("one"), replied("1"), regenerate(), replied("", wants("a")))
    book.given(approve("a"), returned(), replied("noon"))
    assert [m.replaces for m in book.branch if m.role == "assistant"] == [
        book.state.messages[1].id,
        None,
    ]


def test_a_message_of_the_user_can_be_answered_anew() -> None:
    book = talked().given(regenerate(ids(talked())[0]), replied("I"))
    assert texts(book) == ["one", "I"]
    assert book.branch[-1].replaces is None


def test_nothing_can_be_regenerated_before_anything_was_said() -> None:
    assert Playbook().refuses(regenerate()).code == "unknown-message"
    recorded = Playbook().given(record(("assistant", "Hello.")))
    assert recorded.refuses(regenerate()).code == "unknown-message"


def test_the_result_of_a_tool_is_no_reply_that_can_be_regenerated() -> None:
    book = Playbook().given(say("one"), replied("", wants("a")), approve("a"))
    book.given(returned("noon"), replied("It is noon."))
    assert book.branch[2].role == "tool"
    assert book.refuses(regenerate(ids(book)[2])).code == "unknown-message"


# Named lines


def test_a_branch_grows_beside_the_one_it_came_from() -> None:
    book = talked()
    book.given(branch("side", at=ids(book)[1]), switch("side"), say("two?"), replied("2?"))
    assert texts(book) == ["one", "1", "two?", "2?"]
    assert texts(book.given(switch("main"))) == ["one", "1", "two", "2"]


def test_a_branch_needs_a_name_of_its_own_and_a_message_that_exists() -> None:
    book = talked().given(branch("side"))
    assert book.refuses(branch("side")).code == "branch-exists"
    assert book.refuses(branch("more", at="nowhere")).code == "unknown-message"
    assert book.refuses(switch("nowhere")).code == "unknown-branch"
    full = Playbook(limits={"branches_max": 1})
    assert full.refuses(branch("side")).code == "branch-exists"


def test_a_line_that_no_branch_leads_along_can_be_returned_to() -> None:
    book = talked()
    one, two = ids(book)[0], ids(book)[2]
    book.given(edit(one, "uno"), replied("I"))
    book.given(switch(to=one))
    assert texts(book) == ["one", "1", "two", "2"]
    before = book.state
    assert book.when(switch(to=two)).state is before


# Merges


def apart() -> Playbook:
    """Two branches with a turn of their own each; `main` is the active one."""
    book = talked()
    book.given(branch("side", at=ids(book)[1]), switch("side"))
    return book.given(say("aside"), replied("besides"), switch("main"))


def test_append_brings_copies_of_the_other_branchs_own_messages() -> None:
    book = apart().given(merge("side"))
    assert texts(book) == ["one", "1", "two", "2", "aside", "besides"]
    assert book.branch[-1].copy_of is not None
    assert texts(book.given(switch("side"))) == ["one", "1", "aside", "besides"]


def test_the_same_merge_twice_changes_nothing() -> None:
    book = apart().given(merge("side"))
    before = book.state
    assert book.when(merge("side")).state is before
    assert book.when(merge("main")).state is before


def test_what_came_since_a_merge_is_brought_by_the_next() -> None:
    book = apart().given(merge("side"), switch("side"), say("more"), replied("m"))
    book.given(switch("main"), merge("side"))
    assert texts(book)[-4:] == ["aside", "besides", "more", "m"]


def test_rebase_puts_our_own_messages_behind_theirs() -> None:
    book = apart().given(merge("side", "rebase"))
    assert texts(book) == ["one", "1", "aside", "besides", "two", "2"]


def test_cherry_pick_brings_the_named_messages_and_tool_results_with_their_call() -> None:
    book = talked()
    book.given(branch("side", at=ids(book)[1]), switch("side"), say("time?"))
    book.given(replied("", wants("a"), wants("b")), approve("a", "b"), returned("12"))
    book.given(returned("13"), replied("noon"))
    calls, result = ids(book)[3], ids(book)[4]
    one = Playbook.at(book).given(switch("main"), merge("side", "cherry_pick", calls))
    other = Playbook.at(book).given(switch("main"), merge("side", "cherry_pick", result))
    assert texts(one) == texts(other) == ["one", "1", "two", "2", "", "12", "13"]


def test_cherry_pick_of_a_result_brings_no_other_round_of_calls() -> None:
    book = talked()
    book.given(branch("side", at=ids(book)[1]), switch("side"), say("time?"))
    book.given(replied("", wants("a")), approve("a"), returned("12"))
    book.given(replied("", wants("b")), approve("b"), returned("13"), replied("noon"))
    result = ids(book)[4]
    book.given(switch("main"), merge("side", "cherry_pick", result))
    assert texts(book) == ["one", "1", "two", "2", "", "12"]


def test_cherry_pick_of_what_is_not_on_that_branch_alone_is_refused() -> None:
    book = apart()
    refused = book.refuses(merge("side", "cherry_pick", ids(book)[0]))
    assert refused.code == "unknown-message"


def test_two_versions_of_one_message_are_a_conflict_that_is_told_and_can_be_accepted() -> None:
    book = talked()
    two = ids(book)[2]
    book.given(branch("side"), edit(two, "deux"), replied("II"))
    refused = book.refuses(merge("side"))
    assert refused.code == "merge-conflict"
    (conflict,) = refused.conflicts
    assert (conflict.kind, conflict.theirs) == ("alternatives", two)
    assert conflict.ours == ids(book)[2]
    book.given(merge("side", accept=True))
    assert texts(book) == ["one", "1", "deux", "II", "two", "2"]


def test_different_system_prompts_are_a_conflict() -> None:
    book = talked()
    book.given(branch("side", system_prompt="Rhyme."), switch("side"), say("x"), replied("y"))
    (conflict,) = book.given(switch("main")).refuses(merge("side")).conflicts
    assert (conflict.kind, conflict.ours, conflict.theirs) == ("system_prompt", "", "Rhyme.")


def test_a_system_prompt_of_the_active_branch_alone_is_a_conflict_too() -> None:
    book = talked()
    book.given(branch("side", system_prompt="Rhyme."), say("x"), replied("y"))
    (conflict,) = book.given(switch("side")).refuses(merge("main")).conflicts
    assert (conflict.kind, conflict.ours, conflict.theirs) == ("system_prompt", "Rhyme.", "")


def test_a_merge_from_nowhere_is_refused() -> None:
    assert talked().refuses(merge("nowhere")).code == "unknown-branch"


def test_nothing_is_merged_or_switched_during_a_turn() -> None:
    book = apart().given(say("now"))
    assert book.refuses(merge("side")).code == "illegal-in-phase"
    assert book.refuses(switch("side")).code == "illegal-in-phase"
    assert book.refuses(edit(ids(book)[0])).code == "illegal-in-phase"


def test_what_both_branches_brought_each_other_is_brought_once() -> None:
    book = apart().given(merge("side"), switch("side"), merge("main"))
    assert texts(book) == ["one", "1", "aside", "besides", "two", "2"]
    book.given(say("since"), replied("then"), switch("main"))
    rebased = Playbook.at(book).given(merge("side", "rebase"))
    assert texts(rebased) == ["one", "1", "aside", "besides", "two", "2", "since", "then"]
    appended = book.given(merge("side"))
    assert texts(appended) == ["one", "1", "two", "2", "aside", "besides", "since", "then"]


def test_a_copy_of_a_copy_names_the_message_that_was_said() -> None:
    book = apart().given(branch("third", at=ids(talked())[0]), switch("side"))
    said = ids(book)[-1]
    book.given(switch("main"), merge("side"), switch("third"), merge("main"))
    assert book.branch[-1].copy_of == said


def test_a_copy_of_an_edited_message_is_no_other_version_of_it() -> None:
    book = apart().given(switch("side"))
    book.given(edit(ids(book)[2], "aside, again"), replied("well"), switch("main"))
    book.given(merge("side"))
    assert [message.replaces for message in book.branch[-2:]] == [None, None]


def test_a_message_that_was_edited_twice_is_in_conflict_with_its_first_version() -> None:
    book = talked().given(branch("side"))
    first = ids(book)[2]
    book.given(edit(first, "two?"), replied())
    book.given(edit(ids(book)[2], "two!"), replied())
    assert [conflict.theirs for conflict in book.refuses(merge("side")).conflicts] == [first]
    book.given(merge("side", accept=True), switch("side"), say("more"), replied())
    assert texts(book.given(switch("main"), merge("side")))[-2:] == ["more", "Hi."]


def test_a_message_that_is_on_the_line_already_is_not_left_for_a_newer_one() -> None:
    book = talked()
    older = ids(book)[-1]
    book.given(regenerate(), replied("2b"), switch(to=older))
    before = book.state
    assert book.when(switch(to=ids(book)[0])).state is before


def test_another_branch_can_be_led_through_a_message_of_the_active_one() -> None:
    book = talked()
    line = ids(book)
    book.given(branch("short", at=line[1]), switch("short", to=line[2]))
    assert ids(book) == line


def test_a_message_without_a_reply_is_the_one_that_is_answered_anew() -> None:
    book = talked().given(say("three"), failed(), regenerate(), replied("3"))
    assert texts(book) == ["one", "1", "two", "2", "three", "3"]


def test_a_regenerated_reply_can_be_rolled_back_to_the_one_before_it() -> None:
    book = talked().given(regenerate(), say("no", policy="rollback"))
    assert texts(book) == ["one", "1", "two", "2", "no"]


def test_neither_results_of_tools_nor_what_the_system_says_can_be_edited() -> None:
    book = Playbook().given(record(("system", "Be brief."), ("tool", "noon")))
    for message_id in ids(book):
        assert book.refuses(edit(message_id)).code == "unknown-message"


def test_an_edit_keeps_what_the_client_said_about_it() -> None:
    book = talked()
    mine = edit(ids(book)[0]).model_copy(update={"client_message_id": "mine"})
    assert book.given(mine).branch[-1].client_message_id == "mine"
