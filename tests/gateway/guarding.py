"""A service that asks for keys, and every address that one needs a key for."""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from gateway.route import Route
from storage import SCOPES, Access, Scope
from tests.support.routes import SERVED
from tests.support.service import Client, Options, Service, serving

PUBLIC: Final = frozenset(
    {
        *("health", "healthz", "readyz", "get_problem_type", "openapi", "docs", "docs_asset"),
        *("get_websocket_config", "asyncapi", "chat_page", "dashboard_page", "page_asset"),
    }
)
NOW_MS: Final = 1_800_000_000_000
UNKNOWN: Final = "01890a5d-ac96-774b-bcce-b302099a8057"


@dataclass(frozen=True, slots=True)
class Scene:
    """A service that asks for keys, and the keys of one store."""

    service: Service
    access: Access

    @property
    def stranger(self) -> Client:
        """Somebody without a key."""
        return self.service.client

    async def of(
        self, owner: str, *, scopes: Sequence[Scope] = SCOPES, expires_at_ms: int | None = None
    ) -> Client:
        """Somebody with a key."""
        _, text = await self.access.create(
            *("k",), owner=owner, scopes=scopes, now_ms=NOW_MS, expires_at_ms=expires_at_ms
        )
        return replace(self.service.client, key=text)


@contextlib.asynccontextmanager
async def guarded(
    store_url: str, *, gateways: int = 1, workers: int = 0, **gateway: object
) -> AsyncGenerator[Scene, None]:
    """Run a service that asks for keys."""
    options: Options = {"auth": "keys", **gateway}
    async with serving(
        store_url, gateways=gateways, workers=workers, gateway=options
    ) as service:
        yield Scene(service, Access(service.stores[0].link))


def address(route: Route, **ids: str) -> str:
    """Where a route is, with ids in its path."""
    given = {
        "id": UNKNOWN,
        "action": "rename",
        "action_id": f"{UNKNOWN}.1.1",
        "message_id": UNKNOWN,
        "mode": "text",
        "session_id": "s",
        "note_id": UNKNOWN,
        "restart_id": UNKNOWN,
        "letter_id": UNKNOWN,
        "model": "scripted",
        "response_id": "resp_x",
        "conversation_id": "conv_x",
        **ids,
    }
    return route.paths[0].format_map(given)


BODIES: Final[dict[str, object]] = {
    "send_message": {"content": "x"},
    "edit_message": {"message_id": UNKNOWN, "content": "x"},
    "update_queue": {"remove": [UNKNOWN]},
    "create_branch": {"name": "b"},
    "switch_branch": {"name": "main"},
    "merge_branch": {"source": "b"},
    "record_messages": {"messages": [{"role": "user", "content": "x"}]},
    "request_turn": {"messages": [{"role": "user", "content": "x"}]},
    "answer": {"question_id": "q", "content": "x"},
    "approve_tools": {"tool_call_ids": ["c"]},
    "rename": {"title": "x"},
    "post_message": {"role": "user", "content": "x"},
    "patch_message": {"content": "x"},
}
"""Bodies that are valid, where an empty one is not."""
GUARDED: Final = [route for route in SERVED if route.name not in PUBLIC]
