"""Which key a command comes in with, and that a bad one is never shown."""

from pathlib import Path

import pytest

from runtime.admin_client import AdminClient, CannotAsk
from runtime.key_file import OWNER_KEY, NoKey, key_for

HERE = "http://127.0.0.1:8000"


@pytest.fixture(autouse=True)
def _no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor a data folder, until the test gives one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CONTEXTD_API_KEY", raising=False)
    monkeypatch.delenv("CONTEXTD_DATA", raising=False)


def test_line_ends_around_a_key_are_none_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTEXTD_API_KEY", "ctxd_id_sesame\r\n")
    assert key_for(HERE, None) == "ctxd_id_sesame"
    (tmp_path / "key").write_text("ctxd_other\n")
    assert key_for(HERE, tmp_path / "key") == "ctxd_other"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_the_key_of_this_machine_goes_to_no_other(tmp_path: Path, host: str) -> None:
    (tmp_path / "contextd-data").mkdir()
    (tmp_path / "contextd-data" / OWNER_KEY).write_text("ctxd_own\n")
    assert key_for(f"http://{host}:8000", None) == "ctxd_own"
    for other in ("example.com", f"{host.strip('[]:')}.example.com", "10.0.0.1"):
        assert key_for(f"http://{other}:8000", None) is None


@pytest.mark.parametrize("key", ["sesame\nX-Owner: ada", "sesame\x00", "sésame"])
def test_what_cannot_be_sent_is_refused_and_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    (tmp_path / "key").write_text(key)
    with pytest.raises(NoKey, match="key holds no key") as refused:
        key_for(HERE, tmp_path / "key")
    assert "same" not in str(refused.value)
    if "\x00" not in key:
        monkeypatch.setenv("CONTEXTD_API_KEY", key)
        with pytest.raises(NoKey, match="CONTEXTD_API_KEY holds no key"):
            key_for(HERE, None)


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    with pytest.raises(NoKey, match="is no address"):
        key_for(url, None)


def test_a_key_is_not_in_what_is_said_of_a_failure() -> None:
    with pytest.raises(CannotAsk) as failed:
        AdminClient(HERE, "sesame\n").get("/admin/contexts")
    assert "sesame" not in str(failed.value)
