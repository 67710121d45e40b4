"""Starts what `up`, `supervise`, `gateway` and `worker` run.

Files and folders that a process would only stumble over later are looked at first: what
cannot be used ends the command with a sentence.
"""

import sys
from typing import TYPE_CHECKING

import typer

from runtime.arguments import fail, run, store_or_fail

if TYPE_CHECKING:
    from runtime.settings import Settings
    from runtime.slot import Role


def run_all(settings: "Settings", *, started_s: float) -> int:
    """Run everything on this machine until it is told to stop; the exit code.

    Args:
        settings: As given; of a terminal they are quieter.
        started_s: When the command was entered (`time.monotonic`), for the banner.
    """
    from runtime.embedded import StoreFailed
    from runtime.logs import configure_logs
    from runtime.port import PortTaken
    from runtime.settings import unknown_variables
    from runtime.store_address import BadDataFolder
    from runtime.store_binary import NoStoreBinary
    from runtime.up import supervise

    if settings.log_level is None and sys.stderr.isatty():
        # A person reads this: the banner tells what the info lines would.
        settings = settings.model_copy(update={"log_level": "warning"})
    configure_logs(settings.log_level or "info")
    for sentence in unknown_variables():
        typer.echo(f"contextd: {sentence}", err=True)
    if settings.workers:
        _check_servers(settings)
    if settings.gateways:
        _check_certificate(settings)
        _check_activity(settings)
    try:
        return run(supervise(settings, started_s=started_s))
    except (PortTaken, BadDataFolder, NoStoreBinary, StoreFailed) as error:
        fail(str(error), 1)


def run_one(role: "Role", settings: "Settings") -> int:
    """Run one gateway or worker until it is told to stop; the exit code."""
    from runtime.logs import configure_logs
    from runtime.role import run_role, wait_for_go

    configure_logs(settings.log_level or "info")
    if role == "worker":
        _check_servers(settings)
    else:
        _check_certificate(settings)
        _check_activity(settings)
    if not wait_for_go(role):
        return 0
    return run(run_role(role, settings, url=store_or_fail(settings)))


def _check_servers(settings: "Settings") -> None:
    """Refuse a file of MCP servers that workers could not use."""
    if settings.mcp_servers is None:
        return
    from workers.tools.mcp_servers import BadServers, read_servers

    try:
        read_servers(settings.mcp_servers)
    except BadServers as error:
        fail(str(error), 2)


def _check_certificate(settings: "Settings") -> None:
    """Refuse a certificate that gateways could not use."""
    if settings.tls_cert is None:
        return
    from gateway import BadCertificate, tls_context

    try:
        tls_context(settings)
    except BadCertificate as error:
        fail(str(error), 2)


def _check_activity(settings: "Settings") -> None:
    """Refuse a folder that gateways could not write their records into."""
    if settings.activity_folder is None or not settings.activity:
        return
    from dashboard import BadActivityFolder, check_activity_folder

    try:
        check_activity_folder(settings.activity_folder)
    except BadActivityFolder as error:
        fail(str(error), 2)
