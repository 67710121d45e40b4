"""The text of a reply that is arriving, and how much of it readers have.

Frames of one reply leave one after another; a frame whose outcome is unknown is sent
again as it was, because the script knows it by its position.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class DraftBuffer:
    """The draft of the reply to one model call."""

    effect_id: str
    reply_id: str | None = None
    """Set once the commit that begins the draft has been made."""
    began: int = 0
    """Version of the context after that commit."""
    n: int = 0
    """Characters that are in the store."""
    _parts: list[str] = field(default_factory=list[str])
    """All text that has arrived, in the pieces that it came in."""
    _unsent: list[str] = field(default_factory=list[str])
    _on_its_way: str = ""
    sending: bool = False

    @property
    def text(self) -> str:
        """All text that has arrived."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0] if self._parts else ""

    def add(self, text: str) -> None:
        """Take some more text."""
        self._parts.append(text)
        self._unsent.append(text)

    def begin(self) -> str:
        """The draft begins with what has arrived by now, which is returned."""
        text = "".join(self._unsent)
        self._unsent.clear()
        self.n = len(text)
        return text

    def take(self) -> tuple[int, str] | None:
        """The next frame as (n before it, text), or None if there is nothing to send now."""
        if self.sending or self.reply_id is None:
            return None
        if not self._on_its_way:
            self._on_its_way = "".join(self._unsent)
            self._unsent.clear()
        if not self._on_its_way:
            return None
        self.sending = True
        return self.n, self._on_its_way

    def sent(self) -> None:
        """The frame that was taken last is in the store."""
        self.n += len(self._on_its_way)
        self._on_its_way = ""
        self.sending = False

    def not_sent(self) -> None:
        """The outcome of the frame that was taken last is unknown: take gives it again."""
        self.sending = False

    @property
    def waiting(self) -> bool:
        """Whether some text has not been sent."""
        return bool(self._unsent or self._on_its_way)
