"""Spans: where the time of a request and of its turn goes, for whoever collects them.

The rooms say what begins and how it ends; who listens is brought from outside
(`runtime/tracing.py`). By default nobody does. A span is handed on as its `traceparent` (W3C
Trace Context), with the mail and then with the turn. It never holds what was said.
"""

import contextlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, Protocol, TypeAlias

Attributes: TypeAlias = Mapping[str, str | int | float | bool | Sequence[str]]
_NONE: Final[Attributes] = {}


class Span(Protocol):
    """A stretch of time in a trace."""

    @property
    def traceparent(self) -> str | None:
        """What others continue it by; None: nobody listens."""
        ...

    def note(self, attributes: Attributes) -> None:
        """Add attributes."""
        ...

    def failed(self, error_type: str) -> None:
        """Mark it as failed, by this kind of error."""
        ...


class Tracer(Protocol):
    """Makes spans, for whoever collects them."""

    def child(self, name: str, attributes: Attributes = _NONE) -> AbstractContextManager[Span]:
        """A span inside the one that is open in this task; the first one begins a trace."""
        ...

    def continued(
        self, traceparent: str | None, name: str, attributes: Attributes = _NONE
    ) -> AbstractContextManager[Span]:
        """A span inside one that was handed on; none where nothing was."""
        ...

    def trace_id(self) -> str | None:
        """Trace id of the span that is open in this task."""
        ...


class _NoSpan:
    """The span where nobody listens."""

    traceparent: None = None

    def note(self, attributes: Attributes) -> None:
        pass

    def failed(self, error_type: str) -> None:
        pass


_NO_SPAN: Final = contextlib.nullcontext(_NoSpan())


class NoTraces:
    """Nobody listens."""

    def child(self, name: str, attributes: Attributes = _NONE) -> AbstractContextManager[Span]:
        """No span."""
        del name, attributes
        return _NO_SPAN

    def continued(
        self, traceparent: str | None, name: str, attributes: Attributes = _NONE
    ) -> AbstractContextManager[Span]:
        """No span."""
        del traceparent, name, attributes
        return _NO_SPAN

    def trace_id(self) -> str | None:
        """None."""
        return None


NO_TRACES: Final = NoTraces()
