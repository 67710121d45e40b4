"""The page of keys in storage/keys.py, against what the room really uses."""

import re
from typing import Final

from storage import keys

PAGE: Final = keys.__doc__ or ""


def test_every_key_of_a_context_that_a_script_gets_is_on_the_page() -> None:
    assert re.findall(r"^\* `(\w+)` \(\w+\)", PAGE.split("An owner")[0], re.MULTILINE) == [
        "meta",
        "mail",
        "log",
        "draft",
        "keys",
        "results",
        "snap",
        "msgs",
        "base",
        "dead",
        "notices",
        "gone",
    ]
    assert keys.of_context("id", "log", "mail") == ["ctx:{id}:log", "ctx:{id}:mail"]


def test_every_other_key_and_channel_is_on_the_page() -> None:
    made = [
        keys.meta("id").replace("meta", "..."),
        keys.feed("id"),
        keys.owner_contexts("<owner>"),
        keys.owner_names("<owner>"),
        keys.owner_turns("<owner>"),
        keys.owner_tokens("<owner>"),
        keys.notes("<owner>"),
        keys.creation("<owner>", "<key>").replace("7", "<length of owner>"),
        keys.session("<id>"),
        keys.worker_contexts("<id>"),
        keys.worker_mail("<id>"),
        keys.WORKERS,
        keys.READY,
        keys.DUE,
        keys.CONTEXTS,
        keys.WEBHOOKS,
        keys.TRIES,
        keys.chore("<name>"),
        keys.DEAD,
        keys.RESTARTING,
        keys.restart("<id>"),
        keys.carrier("<id>", "<supervisor>"),
        keys.SUPERVISORS,
        keys.EPOCH,
        keys.TOTALS,
        keys.LATENCIES,
        keys.latencies(7).replace("7", "<slot>"),
        keys.PROCESSES,
        keys.process("<id>"),
        keys.reported("<process>"),
        keys.ANNOUNCEMENTS,
        keys.announced("<process>"),
        keys.SEALED,
        keys.AUDIT,
        keys.ACTIVITY,
        keys.ACTIVITY_GATEWAYS,
        keys.activity_of("<id>"),
        keys.WAKE,
        keys.REPLICATED,
        keys.ACCESS_KEYS,
        keys.ticket("<digest>"),
        keys.bucket("<name>"),
    ]
    assert [key for key in made if f"`{key}`" not in PAGE] == []


def test_no_other_name_in_the_module_makes_a_key() -> None:
    makers = {name for name in vars(keys) if not name.startswith("__")}
    assert makers == {
        *("meta", "of_context", "feed", "owner_contexts", "creation", "session"),
        *("worker_contexts", "worker_mail", "notes", "READY", "WORKERS", "EPOCH", "WAKE"),
        *("DUE", "CONTEXTS", "WEBHOOKS", "TRIES", "chore", "owner_names"),
        *("DEAD", "RESTARTING", "SUPERVISORS", "restart", "carrier", "REPLICATED"),
        *("ACCESS_KEYS", "ticket", "bucket", "owner_turns", "owner_tokens", "SEALED", "AUDIT"),
        *("ACTIVITY", "ACTIVITY_GATEWAYS", "activity_of"),
        *("TOTALS", "LATENCIES", "latencies", "PROCESSES", "process", "reported"),
        *("ANNOUNCEMENTS", "announced"),
    }


def test_two_creation_keys_are_the_same_only_for_the_same_owner_and_key() -> None:
    assert keys.creation("a:b", "c") != keys.creation("a", "b:c")
