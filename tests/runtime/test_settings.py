import os
from pathlib import Path

import pytest
from pydantic import SecretStr

from runtime.settings import (
    BadSettings,
    as_environment,
    load_settings,
    unknown_variables,
    with_models,
)
from runtime.settings_docs import markdown, toml


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("CONTEXTD_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def a_file(folder: Path, text: str, name: str = "contextd.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_flag_wins_over_the_variable_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file(tmp_path, "port = 1001\nworkers = 11\ngateways = 21\n")
    monkeypatch.setenv("CONTEXTD_PORT", "1002")
    monkeypatch.setenv("CONTEXTD_WORKERS", "12")
    settings = load_settings({"port": 1003, "workers": None})
    assert (settings.port, settings.workers, settings.gateways) == (1003, 12, 21)
    assert settings.host == "127.0.0.1"


def test_the_file_is_the_named_one_else_that_of_the_variable_else_the_local_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file(tmp_path, "port = 1")
    assert load_settings().port == 1
    monkeypatch.setenv("CONTEXTD_CONFIG", str(a_file(tmp_path, "port = 2", "b.toml")))
    assert load_settings().port == 2
    assert load_settings(file=a_file(tmp_path, "port = 3", "c.toml")).port == 3
    monkeypatch.setenv("CONTEXTD_CONFIG", "")
    assert load_settings().port == 8000


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    a_file(tmp_path, "prot = 1\nxyzzy = 2\n")
    with pytest.raises(BadSettings) as caught:
        load_settings()
    assert caught.value.problems == (
        "contextd.toml: `prot` is not a setting; did you mean `port`.",
        "contextd.toml: `xyzzy` is not a setting; `contextd settings` lists all.",
    )


def test_each_bad_value_is_one_sentence_with_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file(tmp_path, "gateways = -1\n")
    monkeypatch.setenv("CONTEXTD_WORKERS", "many")
    with pytest.raises(BadSettings) as caught:
        load_settings({"port": 70_000})
    port, gateways, workers = caught.value.problems
    assert port.startswith("--port: input should be less than or equal to 65535")
    assert gateways.startswith("`gateways` in contextd.toml: input should be greater")
    assert workers.startswith("CONTEXTD_WORKERS: input should be a valid integer")
    assert workers.endswith("(it is 'many').")


def test_an_empty_variable_is_not_blamed_for_what_the_file_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file(tmp_path, 'port = "x"\n')
    monkeypatch.setenv("CONTEXTD_PORT", "")
    with pytest.raises(BadSettings, match=r"`port` in contextd\.toml: input should be"):
        load_settings()


def test_a_data_folder_without_a_name_is_refused_in_the_file_too(tmp_path: Path) -> None:
    a_file(tmp_path, 'data = ""\n')
    with pytest.raises(BadSettings, match=r"`data` in contextd\.toml: .*it is empty"):
        load_settings()


def test_of_values_that_do_not_go_together_each_source_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file(tmp_path, "drain_s = 30\n")
    with pytest.raises(BadSettings) as caught:
        load_settings()
    assert caught.value.problems[0].endswith("its turns (`drain_s` in contextd.toml).")
    monkeypatch.setenv("CONTEXTD_DRAIN_S_MAX", "29")
    with pytest.raises(BadSettings) as caught:
        load_settings()
    assert caught.value.problems[0].endswith(
        "its turns (`drain_s` in contextd.toml, CONTEXTD_DRAIN_S_MAX)."
    )


def test_only_settings_that_a_sentence_is_about_are_named_with_it(tmp_path: Path) -> None:
    a_file(tmp_path, 'port = 1\npublic_hosts = "a:1"\n')
    with pytest.raises(BadSettings, match=r"without a port \(`public_hosts` in contextd"):
        load_settings()


@pytest.mark.parametrize("text", ["port = ", "[", "port = 1\nport = 2"])
def test_a_file_that_is_not_toml_is_told_as_such(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSettings, match=r"is not TOML: .*line \d|is not TOML"):
        load_settings(file=a_file(tmp_path, text))


def test_a_named_file_that_is_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"cannot be read: No such file"):
        load_settings(file=tmp_path / "missing.toml")


def test_a_port_from_kubernetes_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTD_PORT", "tcp://10.0.0.7:8000")
    with pytest.raises(BadSettings, match="enableServiceLinks"):
        load_settings()


def test_an_unknown_variable_is_told_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTD_WORKER", "2")
    monkeypatch.setenv("CONTEXTD_CONFIG", "")
    assert unknown_variables() == (
        "CONTEXTD_WORKER is not a setting; did you mean CONTEXTD_WORKERS.",
    )


def test_what_a_supervisor_tells_its_children_is_taken_for_no_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("GO_FD", "LISTEN_FD", "READY_FD", "SUPERVISOR_PID"):
        monkeypatch.setenv(f"CONTEXTD_{name}", "3")
    assert unknown_variables() == ()


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTD_REDIS_URL", "")
    assert load_settings().redis_url is None


def test_secrets_show_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTD_MODEL_API_KEY", "sesame")
    monkeypatch.setenv("CONTEXTD_REDIS_URL", "redis://:sesame@localhost")
    settings = load_settings()
    assert settings.model_api_key == SecretStr("sesame")
    assert "sesame" not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_a_child_process_gets_the_very_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file(tmp_path, "workers = 3\nmodel_api_key = 'sesame'\nlinger_s = 0.5\n")
    monkeypatch.setenv("CONTEXTD_DATA", "some where")
    settings = load_settings({"port": 9000})
    for name, value in as_environment(settings).items():
        monkeypatch.setenv(name, value)
    again = load_settings()
    assert again.model_dump() == settings.model_dump()
    assert again.model_api_key == SecretStr("sesame")


@pytest.mark.parametrize(
    ("given", "served"),
    [
        ({}, "scripted"),
        ({"model": "small"}, "scripted"),
        ({"model_base_url": "http://127.0.0.1/v1", "model": "small"}, "small"),
        ({"model_base_url": "http://127.0.0.1/v1"}, ""),
        ({"openai_models": "one,two", "model": "small"}, "one,two"),
    ],
)
def test_a_gateway_serves_the_model_that_the_workers_have(
    given: dict[str, object], served: str
) -> None:
    assert with_models(load_settings(given)).openai_models == served


def test_the_example_file_has_every_setting_with_its_default(tmp_path: Path) -> None:
    commented = [line.removeprefix("# ") for line in toml().splitlines()]
    lines = [line for line in commented if line.partition(" = ")[0].isidentifier()]
    names = {line.partition(" = ")[0] for line in lines if " = " in line}
    assert names == set(type(load_settings()).model_fields)
    path = a_file(tmp_path, "\n".join(line for line in lines if "# unset" not in line))
    assert load_settings(file=path).model_dump() == load_settings({}).model_dump()


ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize(
    ("page", "made", "command"),
    [
        ("settings.md", markdown, "contextd settings --markdown > docs/settings.md"),
        ("contextd.toml", toml, "contextd settings --toml > docs/contextd.toml"),
    ],
)
def test_the_pages_about_settings_are_up_to_date(page: str, made: object, command: str) -> None:
    assert callable(made)
    assert (ROOT / "docs" / page).read_text() == made(), f"run: {command}"


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://:sesame@one:26379",
        "redis+sentinel://:sesame@one,/main",
        "redis+sentinel://:sesame@one:port/main",
        "redis+sentinel://:sesame@one/main/0",
        "redis+sentinel://:sesame@one/main?db=1",
    ],
)
def test_an_address_that_should_name_sentinels_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("CONTEXTD_REDIS_URL", url)
    with pytest.raises(BadSettings) as caught:
        load_settings()
    (problem,) = caught.value.problems
    assert problem.startswith("CONTEXTD_REDIS_URL: ")
    assert "redis+sentinel://host:26379,host:26379/service" in problem
    assert "sesame" not in problem


@pytest.mark.parametrize(
    "url",
    ["sesame", "http://:sesame@host", "redis://:sesame@host/0?db=x", "redis://:sesame@h:x"],
)
def test_an_address_that_is_no_store_s_is_refused_without_it(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("CONTEXTD_REDIS_URL", url)
    with pytest.raises(BadSettings) as caught:
        load_settings()
    (problem,) = caught.value.problems
    assert problem.startswith("CONTEXTD_REDIS_URL: ")
    assert "sesame" not in problem


def test_values_that_do_not_go_together_are_named_in_one_sentence() -> None:
    with pytest.raises(BadSettings) as refused:
        load_settings({"auth": "off", "host": "0.0.0.0"})
    (sentence,) = refused.value.problems
    assert sentence.startswith("auth: off is for loopback addresses, and 0.0.0.0 is none")
    assert load_settings({"auth": "off", "host": "::1"}).auth == "off"


@pytest.mark.parametrize(
    ("given", "fits", "told"),
    [
        (
            {"worker_heartbeat_s": 2, "worker_session_ms": 2_000},
            {"worker_session_ms": 2_001},
            "worker_heartbeat_s (2 s) must be less than worker_session_ms (2000 ms)",
        ),
        (
            {"drain_s": 30.5, "drain_s_max": 30},
            {"drain_s": 30},
            "drain_s (30.5) must not be more than drain_s_max (30)",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    given: dict[str, object], fits: dict[str, object], told: str
) -> None:
    with pytest.raises(BadSettings) as refused:
        load_settings(given)
    (sentence,) = refused.value.problems
    assert sentence.startswith(told)
    load_settings({**given, **fits})


@pytest.mark.parametrize(
    "url",
    [
        *("redis://:hunter/two@host/0", "redis://:hunter#two@host/0", "redis://:hunter?2@host"),
        *("rediss://u:hunter/two@host:6379", "redis+sentinel://:hunter/two@host/main"),
        *("redis://[hunter", "redis://:hunter\u2100@host/0"),
    ],
)
def test_a_store_s_url_with_an_unquoted_password_is_told_without_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTEXTD_REDIS_URL", url)
    with pytest.raises(BadSettings, match="CONTEXTD_REDIS_URL: ") as caught:
        load_settings()
    assert "hunter" not in str(caught.value)


def test_a_model_server_s_address_with_a_password_is_told_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONTEXTD_MODEL_BASE_URL", "https://me:hunter2@host/v1")
    with pytest.raises(BadSettings, match=r"CONTEXTD_MODEL_BASE_URL: .*password") as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)
