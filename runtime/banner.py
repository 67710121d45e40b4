"""What `contextd up` says once everything is ready; the first key is shown this once."""

import io
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from runtime.config import RuntimeConfig
from runtime.key_file import OWNER_KEY
from runtime.settings import Settings
from runtime.streams import write_if_taken

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - shown, not bound

_URL = "http://127.0.0.1:8000"
"""The address that our own commands use by default."""


@dataclass(frozen=True, slots=True)
class Started:
    """What the banner shows."""

    version: str
    store: str
    took_s: float
    new_key: str | None = None
    """The first key of the data folder, if this start has made it."""


def show_banner(settings: Settings, started: Started) -> None:
    """Print it where somebody may read it; where it is not taken, all goes on without it."""
    banner = io.StringIO()
    console = Console(file=banner, force_terminal=sys.stdout.isatty() or None)
    print_banner(settings, started, console)
    write_if_taken(banner.getvalue())


def print_banner(settings: Settings, started: Started, console: Console) -> None:
    """Print addresses, store, durability, model and what to try next."""
    url = base_url(settings)
    facts = Table.grid(padding=(0, 2))
    facts.add_row("Chat", Text(f"{url}/", style="bold cyan"))
    facts.add_row("API", Text(url, style="cyan"))
    facts.add_row("Docs", Text(f"{url}/docs", style="cyan"))
    facts.add_row("Store", started.store)
    facts.add_row("Durability", _durability(settings))
    facts.add_row("Model", _model(settings))
    facts.add_row("Processes", _processes(settings))
    facts.add_row("Key", _key(settings))
    key_file = settings.data / OWNER_KEY
    console.print()
    console.print(
        Text.assemble(
            ("contextd", "bold"), f" {started.version} is up ({started.took_s:.1f} s)"
        )
    )
    console.print()
    console.print(facts)
    console.print()
    if started.new_key is not None and console.is_terminal:
        # Only on a terminal: what is written elsewhere is kept as a log.
        console.print("The first key, which opens everything here")
        console.print(Text(f"  {started.new_key}", style="bold"), soft_wrap=True)
        console.print()
    if console.is_terminal and settings.auth != "off" and key_file.exists():
        # What follows a # stays in the browser: no server and no log sees it.
        console.print("Chat, signed in")
        signed_in = f"{url}/#key={key_file.read_text().strip()}"
        console.print(Text(f"  {signed_in}", style="bold cyan"), soft_wrap=True)
        console.print()
    console.print("Try")
    for line in (_chat(settings, url), _curl(url, key_file, settings.auth)):
        # Longer than a narrow terminal: it must still be one line to copy.
        console.print(Text(f"  {line}", style="green"), soft_wrap=True)
    console.print()


def base_url(settings: Settings) -> str:
    """Where this machine reaches the gateways."""
    host = _EVERYWHERE.get(settings.host, settings.host)
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    scheme = "http" if settings.tls_cert is None else "https"
    return f"{scheme}://{host}:{settings.port}"


def _durability(settings: Settings) -> str:
    if settings.durability == "strict":
        return "strict: what is answered is on disk"
    return "standard: a crash of the store may lose its last 2 s"


def _model(settings: Settings) -> str:
    if settings.model_base_url is None:
        return "scripted, canned replies (set CONTEXTD_MODEL_BASE_URL for a real model)"
    return f"{settings.model or 'the default'} at {settings.model_base_url}"


def _processes(settings: Settings) -> str:
    gateways, workers = settings.gateways, settings.workers
    return (
        f"{gateways} gateway{'s' if gateways != 1 else ''}, "
        f"{workers} worker{'s' if workers != 1 else ''}"
    )


def _key(settings: Settings) -> str:
    path = settings.data / OWNER_KEY
    if settings.auth == "off":
        return "none is asked for (CONTEXTD_AUTH=off)"
    if path.exists():
        return f"in {path}"
    return "`contextd keys create NAME` makes one, for CONTEXTD_API_KEY"


def _chat(settings: Settings, url: str) -> str:
    where = "" if url == _URL else f" --url {url}"
    key_file = settings.data / OWNER_KEY
    found = settings.data == RuntimeConfig.model_fields["data"].default
    if found or settings.auth == "off" or not key_file.exists():
        return f"contextd chat{where}"
    return f"contextd chat{where} --key-file {shlex.quote(str(key_file))}"


def _curl(url: str, key_file: Path, auth: str) -> str:
    key = ""
    if auth != "off":
        made = (
            f"$(cat {shlex.quote(str(key_file))})" if key_file.exists() else "$CONTEXTD_API_KEY"
        )
        key = f' -H "Authorization: Bearer {made}"'
    return (
        f"curl -sX POST {url}/api/contexts{key} -H 'Content-Type: application/json' -d '{{}}'"
    )
