"""A real nginx with the configuration of docs/deploy, in front of given gateways."""

import shutil
import socket
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.service_processes import ROOT, Running, free_port, tethered, until

DOCUMENTED: Final = ROOT / "docs" / "deploy" / "nginx"
PROGRAM: Final = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
_MAIN: Final = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{ worker_connections 512; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/upstream.conf;
    include {folder}/contextd.conf;
}}
"""


@contextmanager
def nginx(*gateway_ports: int) -> Generator[str]:
    """Run it for a block; its URL."""
    assert PROGRAM is not None
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="nginx-"))
    (folder / "contextd.conf").write_text(_moved(port))
    (folder / "upstream.conf").write_text(_upstream(gateway_ports))
    main = folder / "nginx.conf"
    main.write_text(_MAIN.format(folder=folder))
    folder.chmod(0o755)  # its worker may be another user
    words = [PROGRAM, "-p", str(folder), "-c", str(main)]
    running = Running(tethered(*words), {}, folder / "nginx.log")
    try:
        until(lambda: _listens(port), f"nginx listens\n{running.tail()}", within_s=10)
        yield f"http://127.0.0.1:{port}"
    finally:
        running.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _moved(port: int) -> str:
    """The documented server, listening elsewhere."""
    text = (DOCUMENTED / "contextd.conf").read_text()
    moved = text.replace("    listen 80;\n", f"    listen 127.0.0.1:{port};\n")
    assert moved != text
    return moved


def _upstream(gateway_ports: Sequence[int]) -> str:
    """The documented upstream with other addresses."""
    text = (DOCUMENTED / "upstream.conf").read_text()
    kept = [line for line in text.splitlines() if "127.0.0.1" not in line]
    (first, *_) = (line for line in text.splitlines() if "127.0.0.1:8000" in line)
    where = kept.index("    zone contextd 64k;") + 1
    kept[where:where] = [first.replace("8000", str(one)) for one in gateway_ports]
    return "\n".join(kept)
