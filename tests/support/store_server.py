"""A real store server for tests: started, killed and started again on the same data."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from runtime import tether
from runtime.store_binary import find_store_binary

START_S_MAX = 10.0
POLL_S = 0.005
OPTIONS: Mapping[str, str] = {
    "port": "0",
    "appendonly": "yes",
    "appendfsync": "always",
    "save": "",
    "maxmemory-policy": "noeviction",
    "enable-debug-command": "local",
}
"""Those of the embedded store; `appendfsync="everysec"` and the like override them."""


class StoreServer:
    """A server with a data folder of its own, for the length of a block.

    It dies with this process, whatever happens to the test. Its folder goes with the block.
    """

    def __init__(self, **options: str) -> None:
        """Take options of the server, underscores for dashes."""
        given = {name.replace("_", "-"): value for name, value in options.items()}
        self.options = {**OPTIONS, **given}
        self.data = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.data = Path(tempfile.mkdtemp(prefix="store-"))
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.data, ignore_errors=True)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self.data, ignore_errors=True)

    @property
    def socket(self) -> Path:
        """Path of its socket."""
        return self.data / "store.sock"

    @property
    def url(self) -> str:
        """What clients connect to."""
        return f"unix://{self.socket}"

    @property
    def process_id(self) -> int:
        """Of the running server."""
        assert self._process is not None
        return self._process.pid

    def client(self) -> Redis:
        """A plain client that answers text, to arrange and to look; never retries."""
        return Redis(
            unix_socket_path=str(self.socket),
            decode_responses=True,
            socket_timeout=10,
            retry=Retry(NoBackoff(), 0),
        )

    def start(self) -> None:
        """Start it on the data there is; returns once it answers."""
        assert self._process is None
        options = {"dir": str(self.data), "unixsocket": str(self.socket), **self.options}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        log = self.data / "store.log"
        self.socket.unlink(missing_ok=True)
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", tether.__file__, str(os.getpid())),
                    *(str(find_store_binary().path), *words),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"no server: {log.read_text(errors='replace')[-2_000:]}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End it as an operator would; its data is written."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it in the middle of whatever it does (kill -9); harmless when it is gone."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Kill it if it runs and start it on its data again."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay, answers do not come."""
        os.kill(self.process_id, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.process_id, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)
        process.wait(START_S_MAX)

    def _answers(self) -> bool:
        """Whether it has loaded its data and answers."""
        client = self.client()
        try:
            client.exists("any")
        except RedisError:
            return False
        else:
            return True
        finally:
            client.close()
