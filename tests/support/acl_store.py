"""A store that lets in the users of docs/redis-users.conf, and the test as itself."""

import contextlib
import re
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.store_server import StoreServer

USERS: Final = Path(__file__).parents[2] / "docs" / "redis-users.conf"
NOBODY: Final = "user default off"
THE_TEST: Final = "user default on nopass ~* &* +@all"


@dataclass(frozen=True, slots=True)
class AclStore:
    """A running server."""

    server: StoreServer
    passwords: dict[str, str]
    """By user."""

    def url(self, user: str) -> str:
        """Where a user reaches it."""
        return f"unix://{user}:{self.passwords[user]}@{self.server.socket}"

    def refused(self) -> list[str]:
        """What users have asked for and may not, since the last look.

        Whoever connects asks for the settings that durability needs; only `contextd` is told.
        """
        client: Any = self.server.client()
        found = [f"{one['username']}: {one['object']}" for one in client.acl_log()]
        found = [one for one in found if not one.endswith(": config|get")]
        client.acl_log_reset()
        client.close()
        return found


@contextlib.contextmanager
def acl_store() -> Generator[AclStore, None, None]:
    """Run one for the length of a block."""
    text = USERS.read_text()
    assert text.count(NOBODY) == 1
    passwords = dict(re.findall(r"(?m)^user (\S+) on >(\S+)", text))
    with tempfile.TemporaryDirectory(prefix="acl-") as folder:
        path = Path(folder) / "users.conf"
        path.write_text(text.replace(NOBODY, THE_TEST))
        with StoreServer(include=str(path), repl_diskless_sync_delay="0") as server:
            yield AclStore(server, passwords)
