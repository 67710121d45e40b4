"""What a start says, and where it says that the gateways are."""

import io
from pathlib import Path

from rich.console import Console

from runtime.banner import Started, base_url, print_banner
from runtime.settings import Settings


def said(settings: Settings, *, to_terminal: bool = False) -> str:
    """The banner of a start."""
    written = io.StringIO()
    started = Started("1.0", "embedded", 1.0)
    print_banner(
        settings,
        started,
        Console(
            file=written, width=200, force_terminal=to_terminal, no_color=True, highlight=False
        ),
    )
    return written.getvalue()


def test_commands_that_find_the_gateway_by_themselves_are_shown_without_an_address() -> None:
    assert "  contextd chat\n" in said(Settings())
    assert "  contextd chat\n" in said(Settings(host="0.0.0.0"))
    assert "contextd chat --url http://[::1]:8000\n" in said(Settings(host="::1"))
    assert "contextd chat --url http://127.0.0.1:9000\n" in said(Settings(port=9_000))


def test_a_key_that_a_chat_does_not_find_by_itself_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "my data"
    folder.mkdir()
    settings = Settings(data=folder)
    assert "  contextd chat\n" in said(settings)
    assert 'Bearer $CONTEXTD_API_KEY"' in said(settings)
    (folder / "owner.key").touch()
    assert f"contextd chat --key-file '{folder}/owner.key'\n" in said(settings)
    assert f"Bearer $(cat '{folder}/owner.key')\"" in said(settings)
    assert "  contextd chat\n" in said(settings.model_copy(update={"auth": "off"}))


def test_with_a_certificate_the_gateways_are_at_https() -> None:
    settings = Settings(tls_cert=Path("cert.pem"), tls_key=Path("key.pem"))
    assert base_url(settings) == "https://127.0.0.1:8000"
    assert "contextd chat --url https://127.0.0.1:8000\n" in said(settings)
    assert "https://127.0.0.1:8000/docs" in said(settings)


def test_an_address_that_is_signed_in_is_shown_to_a_terminal_alone(tmp_path: Path) -> None:
    (tmp_path / "owner.key").write_text("ctxd_secret\n")
    settings = Settings(data=tmp_path)
    signed_in = "http://127.0.0.1:8000/#key=ctxd_secret"
    assert signed_in in said(settings, to_terminal=True)
    assert "ctxd_secret" not in said(settings)
    assert "ctxd_secret" not in said(
        settings.model_copy(update={"auth": "off"}), to_terminal=True
    )
