"""Looks at the store with each command, for what heals later and is wrong all the same.

Invariant: nothing is changed, and no process learns of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, cast

from pydantic_core import from_json

from storage import keys
from storage.link import Reply
from verify.records import Violation
from verify.simulation.network import Command, Network

_FENCED: Final = {"commit": (b"committed", 1), "draft": (b"appended", 0)}
"""Scripts that only the newest owner may have succeed: the answer, where the token stands."""
_KEYS_AT: Final = 3
"""Where the keys of a script's call begin."""


@dataclass(slots=True, eq=False)
class Watch:
    """What was seen in one run."""

    network: Network = field(init=False)
    violations: list[Violation] = field(default_factory=list[Violation])
    _promised: dict[bytes, int] = field(default_factory=dict[bytes, int])
    """By mailbox: the last mail whose deliverer was told that a living worker will take it."""
    _logs: dict[str, list[bytes]] = field(default_factory=dict[str, list[bytes]])
    """By key: events from the first on, of logs that were compacted, as they were before."""

    def log_of(self, context_id: str) -> Sequence[bytes]:
        """Every event of a context by version, those included that a base stands for by now."""
        (key,) = keys.of_context(context_id, "log")
        self._keep(key)
        return self._logs[key]

    def executing(self, name: str, command: Command) -> None:
        """Look at what a command is about to remove."""
        if name == "compact":
            self._keep(command[_KEYS_AT + 1].decode())

    def _keep(self, key: str) -> None:
        kept = self._logs.setdefault(key, [])
        entries = self.network.server.call("XRANGE", key, f"{len(kept) + 1}-0", "+")
        for entry_id, fields in cast("list[tuple[bytes, list[bytes]]]", entries):
            if entry_id != b"%d-0" % (len(kept) + 1):
                text = f"Behind version {len(kept)} comes {entry_id!r}."
                self.violations.append(Violation("log-not-contiguous", "", text, {"key": key}))
                return
            kept.append(fields[1])

    def executed(self, name: str, command: Command, reply: Reply) -> None:
        """Look at what a command has done."""
        if name in _FENCED:
            self._check_fence(name, command, reply)
        elif name == "deliver":
            match reply:
                case [b"delivered", int() as seq, 1]:
                    self._promised[command[_KEYS_AT + 1]] = seq
                case _:
                    pass
        elif name == "passivate" and reply == b"passive":
            self._check_mailbox(command)

    def renamed(self, path: Path) -> None:
        """Look at a snapshot file that has just got its name: it may not lead the log."""
        if path.suffix != ".json" or self.network.set_back:
            return
        try:
            envelope = from_json(path.read_bytes())
        except ValueError:
            self.violations.append(Violation("snapshot-torn", "", f"{path.name} is torn.", {}))
            return
        context_id, at = envelope["context_id"], envelope["generation"]
        reply = self.network.server.call("HGET", keys.meta(context_id), "version")
        if reply is not None and int(cast("bytes", reply)) < at:
            text = f"A snapshot of version {at} is there, the log is at {reply!r}."
            self.violations.append(Violation("snapshot-leads", context_id, text, {}))

    def _check_fence(self, name: str, command: Command, reply: Reply) -> None:
        answer, at = _FENCED[name]
        said = cast("list[bytes]", reply)[0] if isinstance(reply, list) else reply
        if said != answer:
            return
        token = command[_KEYS_AT + int(command[2]) + at]
        number, epoch = self.network.server.call_all(
            [("HGET", command[_KEYS_AT], "token"), ("HGET", keys.EPOCH, "n")]
        )
        newest = b"%b.%b" % (cast("bytes", epoch), cast("bytes", number))
        if token != newest:
            text = f"A {name} under token {token!r} was taken; the newest is {newest!r}."
            self._add("unfenced", command, text)

    def _check_mailbox(self, command: Command) -> None:
        mailbox = command[_KEYS_AT + 1]
        promised = self._promised.get(mailbox, 0)
        if self.network.set_back:
            return  # numbers are given again
        if promised and self.network.server.call(
            "XRANGE", mailbox, f"{promised}-0", f"{promised}-0"
        ):
            text = f"Given back with mail {promised}, whose deliverer was told of an owner."
            self._add("wake-up-lost", command, text)

    def _add(self, check: str, command: Command, text: str) -> None:
        meta = command[_KEYS_AT].decode()
        context_id = meta[meta.index("{") + 1 : meta.index("}")]
        assert meta == keys.of_context(context_id, "meta")[0]
        self.violations.append(Violation(check, context_id, text, {}))
