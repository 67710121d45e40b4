"""Power cuts: what a server has written but not synced is gone, as after a real one.

A library that is loaded into the server (LD_PRELOAD) notes how long each file was when a
sync of it began that came to its end. A cut kills the server and takes the rest of its
append-only files away, or a part of the rest: the disk may have written some of it.
"""

import os
import random
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.support.store_faults import newest_log
from tests.support.store_server import StoreServer

SYNCED: Final = "POWER_CUT_SYNCED"
"""Variable with the path of the notes."""

_SOURCE: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, long long size) {
    char link[64], path[4096], line[4200];
    const char *notes = getenv("POWER_CUT_SYNCED");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (notes == NULL || length < 0) return;
    path[length] = 0;
    int wanted = snprintf(line, sizeof line, "%lld %s\\n", size, path);
    int out = open(notes, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (out < 0) return;
    if (write(out, line, wanted) != wanted) abort();
    close(out);
}

#define SYNC(name) \\
    int name(int fd) { \\
        static int (*real)(int); \\
        struct stat before; \\
        if (real == NULL) real = (int (*)(int))dlsym(RTLD_NEXT, #name); \\
        int known = fstat(fd, &before); \\
        int failed = real(fd); \\
        if (known == 0 && failed == 0) note(fd, (long long)before.st_size); \\
        return failed; \\
    }
SYNC(fsync)
SYNC(fdatasync)
"""


class PowerCut:
    """Starts servers whose syncs are noted, for the length of a block."""

    def __init__(self) -> None:
        self._folder = Path()
        self._sizes_at_start: dict[Path, int] = {}

    def __enter__(self) -> Self:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("no C compiler: syncs cannot be watched")
        self._folder = Path(tempfile.mkdtemp(prefix="power-cut-"))
        source = self._folder / "synced.c"
        source.write_text(_SOURCE)
        words = ("-shared", "-fPIC", "-O1", "-o", str(self._library), str(source), "-ldl")
        subprocess.run((compiler, *words), check=True, timeout=60)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _library(self) -> Path:
        return self._folder / "synced.so"

    @property
    def _notes(self) -> Path:
        return self._folder / "synced.txt"

    def start(self, server: StoreServer) -> None:
        """Start a server that is not running, its syncs noted."""
        self._notes.unlink(missing_ok=True)
        logs = server.data.glob("appendonlydir/*.incr.aof")
        self._sizes_at_start = {log: log.stat().st_size for log in logs}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(self._library))
            patch.setenv(SYNCED, str(self._notes))
            server.start()

    def unsynced_bytes(self, server: StoreServer) -> int:
        """How much of its log the server has written and not synced."""
        log = newest_log(server.data)
        written = log.stat().st_size  # first: what is synced meanwhile does not count
        return max(0, written - self._synced_bytes(log))

    def cut(self, server: StoreServer, chance: random.Random) -> int:
        """Kill the server, and take from its log what was not synced or a part of that.

        Returns:
            Bytes that are gone.
        """
        server.kill()
        log = newest_log(server.data)
        written, synced = log.stat().st_size, self._synced_bytes(log)
        kept = synced + chance.choice((0, chance.randint(0, max(0, written - synced))))
        os.truncate(log, min(written, kept))
        return max(0, written - kept)

    def _synced_bytes(self, log: Path) -> int:
        """Since the start; what was there at the start has been on disk for long."""
        synced = self._sizes_at_start.get(log, 0)
        if self._notes.exists():
            for line in self._notes.read_text().splitlines():
                size, _, path = line.partition(" ")
                if path == str(log):
                    synced = max(synced, int(size))
        return synced
