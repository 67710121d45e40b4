"""Configuration, names, refusals and replay."""

import pytest
from pydantic import JsonValue

from fsm import (
    ACTION,
    ContextConfigured,
    MessageReceived,
    Phase,
    Refusal,
    allowed_actions,
    merge_patch,
    refusal,
    replay,
)
from tests.support.playbook import (
    BEGAN_MS,
    DELETE,
    Playbook,
    cancel,
    configure,
    failed,
    rename,
    replied,
    say,
)


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({"a": [1]}, {"a": [2, None]}, {"a": [2, None]}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3, "c": None}}, {"a": {"b": 3}}),
        ({"a": 1}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, [2], [2]),
        ([1], {"a": 1}, {"a": 1}),
        ({"a": 1}, None, None),
    ],
)
def test_patches_merge_by_rfc_7396(
    target: JsonValue, patch: JsonValue, merged: JsonValue
) -> None:
    assert merge_patch(target, patch) == merged


def test_merging_modifies_neither_side() -> None:
    target: JsonValue = {"a": {"b": 1}}
    patch: JsonValue = {"a": {"b": None, "c": 2}}
    merge_patch(target, patch)
    assert target == {"a": {"b": 1}}
    assert patch == {"a": {"b": None, "c": 2}}


def test_configure_replaces_what_it_names_and_nothing_else() -> None:
    book = Playbook(model="m-1", parameters={"temperature": 0.5, "stop": ["x"]})
    book.when(configure(system_prompt="Be brief.", parameters={"stop": None, "top_p": 1}))
    book.then(Phase.IDLE)
    config = book.state.config
    assert (config.model, config.system_prompt) == ("m-1", "Be brief.")
    assert config.parameters == {"temperature": 0.5, "top_p": 1}


def test_null_brings_the_default_back() -> None:
    book = Playbook(model="m-1", limits={"rounds_max": 2, "tools_max": 3}, mode="deep")
    book.given(configure(model=None, limits={"rounds_max": None}))
    assert book.state.config.model is None
    assert book.state.config.mode == "deep"
    assert book.state.config.limits.rounds_max == 5
    assert book.state.config.limits.tools_max == 3


@pytest.mark.parametrize(
    ("patch", "where"),
    [
        ({"limits": {"rounds_max": 0}}, "limits.rounds_max"),
        ({"tool_policy": {"mode": "always"}}, "tool_policy.mode"),
        ({"unknown": 1}, "unknown"),
        ({"limits": 5}, "limits"),
        ({"system_prompt": ["no", "text"]}, "system_prompt"),
    ],
)
def test_a_patch_that_makes_the_configuration_invalid_is_refused_and_says_where(
    patch: dict[str, JsonValue], where: str
) -> None:
    refused = Playbook().refuses(configure(**patch))
    assert refused.code == "invalid-config"
    assert refused.detail.startswith(f"{where}: ")


@pytest.mark.parametrize("patch", [{}, {"mode": "text"}, {"model": None}, {"limits": {}}])
def test_a_patch_that_changes_nothing_changes_nothing(patch: dict[str, JsonValue]) -> None:
    book = Playbook()
    before = book.state
    assert book.when(configure(**patch)).state is before


def test_one_and_true_are_different_values() -> None:
    book = Playbook(parameters={"logprobs": 1}).given(configure(parameters={"logprobs": True}))
    assert book.state.config.parameters["logprobs"] is True


def test_configuration_holds_from_the_next_model_call_on() -> None:
    book = Playbook().given(say(), configure(limits={"turn_s_max": 7}), replied())
    book.when(say())
    book.then(Phase.AWAITING_LLM_RESPONSE, book.call_model())


def test_rename_changes_the_title_only() -> None:
    book = Playbook(title="Old").when(rename("New")).then(Phase.IDLE)
    assert book.state.title == "New"
    before = book.state
    assert book.when(rename("New")).state is before


def test_configure_and_rename_disturb_no_phase() -> None:
    for events in ((), (say(),), (say(), failed()), (say(), failed(retryable=True))):
        book = Playbook().given(*events)
        before = book.state
        book.when(configure(mode="deep")).then(before.phase).when(rename("x")).then(
            before.phase
        )
        assert book.state.pending == before.pending
        assert book.state.turn == before.turn


# Refusals


def test_a_refusal_says_where_the_context_is_and_what_may_be_done_there() -> None:
    book = Playbook().given(say(), failed())
    refused = book.refuses(cancel())
    assert refused.phase == "failed"
    assert refused.allowed_actions == allowed_actions(book.state)
    assert set(refused.allowed_actions) == {
        *("send_message", "edit_message", "regenerate", "update_queue", "create_branch"),
        *("request_turn", "retry", "reset", "configure", "rename", "generate_title"),
        *("pin", "unpin", "delete"),
    }
    assert refused.detail == "cancel is not possible while failed."


def test_other_rooms_can_refuse_in_the_same_form() -> None:
    refused = refusal(Playbook().state, "version-mismatch", "Version 1, not 7.")
    assert (refused.code, str(refused), refused.phase) == (
        "version-mismatch",
        "Version 1, not 7.",
        "idle",
    )


# Replay


def test_a_log_begins_with_its_creation_and_is_never_empty() -> None:
    with pytest.raises(ValueError, match="begins with context-created"):
        replay([MessageReceived(at_ms=1, content="x")])
    with pytest.raises(ValueError, match="empty log"):
        replay([])


def test_a_context_is_created_once() -> None:
    book = Playbook().given(say())
    with pytest.raises(Refusal, match="not possible"):
        replay([*book.log, book.log[0]])


def test_replay_goes_on_from_a_snapshot() -> None:
    book = Playbook().given(say(), replied(), say())
    assert replay(book.log[2:], replay(book.log[:2])) == book.state
    assert replay([], book.state) is book.state


def test_creation_is_version_one_of_an_idle_context() -> None:
    state = Playbook().state
    assert (state.version, state.phase, state.created_at_ms) == (1, Phase.IDLE, BEGAN_MS)


def test_actions_are_decoded_by_kind_and_closed_against_unknown_fields() -> None:
    text = '{"kind":"context-configured","at_ms":1,"patch":{"model":null}}'
    assert ACTION.validate_json(text) == ContextConfigured(at_ms=1, patch={"model": None})
    with pytest.raises(ValueError, match="Extra inputs"):
        ACTION.validate_json('{"kind":"context-renamed","at_ms":1,"title":"x","by":"eve"}')
    with pytest.raises(ValueError, match="expected tags"):
        ACTION.validate_json('{"kind":"reply-started","at_ms":1,"effect_id":"2.0"}')


def test_versions_count_the_events_that_changed_something() -> None:
    book = Playbook().given(say(), rename("x")).when(rename("x")).given(DELETE)
    assert book.state.version == len(book.log) == 4
