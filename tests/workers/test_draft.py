"""The text of a reply that is arriving, and how much of it readers have."""

from hypothesis import given, strategies as st

from workers.draft import DraftBuffer


def begun(*texts: str) -> DraftBuffer:
    draft = DraftBuffer("2.0")
    for text in texts:
        draft.add(text)
    draft.begin()
    draft.reply_id = "m1"
    return draft


def test_nothing_is_sent_before_the_draft_has_begun() -> None:
    draft = DraftBuffer("2.0")
    draft.add("Hel")
    draft.add("lo")
    assert draft.take() is None
    assert draft.begin() == "Hello"
    assert draft.take() is None
    draft.reply_id = "m1"
    assert draft.take() is None
    assert draft.n == 5


def test_what_arrives_while_a_draft_begins_is_the_first_frame() -> None:
    draft = DraftBuffer("2.0")
    draft.add("Hel")
    draft.begin()
    draft.add("lo")
    draft.reply_id = "m1"
    assert draft.waiting
    assert draft.take() == (3, "lo")


def test_one_frame_is_on_its_way_and_the_next_holds_all_that_came_since() -> None:
    draft = begun("a")
    draft.add("b")
    assert draft.take() == (1, "b")
    draft.add("c")
    draft.add("d")
    assert draft.take() is None
    draft.sent()
    assert draft.take() == (2, "cd")
    draft.sent()
    assert not draft.waiting
    assert draft.n == 4


def test_a_frame_that_was_not_confirmed_is_given_again_without_what_came_since() -> None:
    draft = begun("a")
    draft.add("b")
    draft.take()
    draft.add("c")
    draft.not_sent()
    assert draft.waiting
    assert draft.take() == (1, "b")


def test_positions_count_characters_not_bytes() -> None:
    draft = begun("ä👋")
    draft.add("é")
    assert draft.take() == (2, "é")


def test_the_text_is_all_that_has_arrived_sent_or_not() -> None:
    draft = begun("a")
    assert draft.text == "a"
    draft.add("b")
    draft.take()
    draft.add("c")
    assert draft.text == "abc"


@given(
    st.lists(
        st.one_of(
            st.text(min_size=1, max_size=3), st.sampled_from([b"take", b"sent", b"not sent"])
        )
    )
)
def test_frames_join_to_the_text_whatever_is_confirmed_when(steps: list[str | bytes]) -> None:
    draft, store, text = begun("x"), "x", "x"
    frame: tuple[int, str] | None = None
    for step in [*steps, b"take", b"sent", b"take", b"sent"]:
        match step:
            case str():
                draft.add(step)
                text += step
            case b"take":
                frame = draft.take() or frame
            case _ if frame is not None:
                n_before, sent = frame
                if n_before == len(store):
                    store += sent
                else:
                    assert store == store[:n_before] + sent
                if step == b"sent":
                    draft.sent()
                else:
                    draft.not_sent()
                frame = None
            case _:
                pass
    assert store == text == draft.text
    assert draft.n == len(text)
