"""A real nginx with the configuration of docs/deploy, in front of given gateways."""

import re
import shutil
import socket
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.support.service_processes import ROOT, Running, free_port, tethered, until

CONFIG: Final = ROOT / "docs" / "deploy" / "nginx.conf"
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
    include {folder}/contextd.conf;
}}
"""


@contextmanager
def nginx(*gateway_ports: int) -> Generator[str]:
    """Run it for a block; its URL."""
    assert PROGRAM is not None
    port = free_port()
    folder = Path(tempfile.mkdtemp(prefix="nginx-"))
    (folder / "contextd.conf").write_text(_config(port, gateway_ports))
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


def _config(port: int, gateway_ports: Sequence[int]) -> str:
    """The documented one with other ports, and nothing else changed."""
    text = CONFIG.read_text()
    like = re.compile(
        r"^    server 127\.0\.0\.1:8000( .*)\n    server 127\.0\.0\.1:8001\1\n", re.MULTILINE
    )
    servers = "".join(rf"    server 127.0.0.1:{one}\1" + "\n" for one in gateway_ports)
    text, replaced = like.subn(servers, text)
    assert replaced == 1
    text, replaced = re.subn(
        r"^    listen 80;$", f"    listen 127.0.0.1:{port};", text, flags=re.MULTILINE
    )
    assert replaced == 1
    return text
