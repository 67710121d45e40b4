"""Asks a running service what only its operators may ask, over HTTP."""

import http.client
import json
import ssl
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Json: TypeAlias = dict[str, Any]
"""What the service has answered: shown as it is, not modelled again."""

ANSWER_S_MAX = 30.0
PAGES_MAX = 10_000
"""Most pages of one list that are asked for."""


class CannotAsk(Exception):
    """There is no usable answer; the message says what to do."""

    def __init__(self, sentence: str, *, problem: str = "", status: int = 0) -> None:
        super().__init__(sentence)
        self.problem = problem
        """Name of the problem's type; empty where there was no answer."""
        self.status = status
        """0: there was no answer."""


class AdminClient:
    """One service, asked with one key; each request has a connection of its own."""

    def __init__(self, url: str, key: str | None) -> None:
        self.url = url.rstrip("/")
        self._key = key

    def get(self, path: str) -> Json:
        """The answer of an address.

        Raises:
            CannotAsk: Nothing answers, or it refuses.
        """
        return self._ask("GET", path)[0]

    def post(self, path: str, body: Json) -> Json:
        """POST to an address; the answer.

        Raises:
            CannotAsk: Nothing answers (and it may have been done), or it refuses.
        """
        return self._ask("POST", path, body)[0]

    def delete(self, path: str) -> None:
        """DELETE what is at an address.

        Raises:
            CannotAsk: Nothing answers (and it may have been done), or it refuses.
        """
        self._ask("DELETE", path)

    def pages(self, path: str) -> Iterator[Json]:
        """A list, page by page.

        Raises:
            CannotAsk: Nothing answers, or it refuses.
        """
        for _ in range(PAGES_MAX):
            page, headers = self._ask("GET", path)
            yield page
            link = headers.get("Link", "")
            if not link.startswith("<"):
                return
            path = link[1 : link.index(">")]

    def _ask(
        self, method: str, path: str, body: Json | None = None
    ) -> tuple[Json, Mapping[str, str]]:
        try:
            status, headers, raw = self._send(method, path, body)
            answer: Json = json.loads(raw or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as error:
            # The words of a ValueError may be what we have sent: the key, too.
            told = "" if isinstance(error, ValueError) else str(error)
            reason = told or type(error).__name__
            raise CannotAsk(
                f"Nothing that is contextd answers at {self.url} ({reason}). Is `contextd up` "
                "running? --url, or CONTEXTD_URL, says where."
            ) from error
        if status < 300:
            return answer, headers
        raise self._refusal(status, answer)

    def _send(
        self, method: str, path: str, body: Json | None
    ) -> tuple[int, Mapping[str, str], bytes]:
        parts = urlsplit(self.url)
        host, port = parts.hostname or "", parts.port
        connection = (
            http.client.HTTPSConnection(
                host, port, timeout=ANSWER_S_MAX, context=ssl.create_default_context()
            )
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=ANSWER_S_MAX)
        )
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        sent = None if body is None else json.dumps(body)
        try:
            connection.request(method, parts.path.rstrip("/") + path, sent, headers)
            response = connection.getresponse()
            return response.status, dict(response.headers), response.read()
        finally:
            connection.close()

    @staticmethod
    def _refusal(status: int, answer: Json) -> CannotAsk:
        problem = str(answer.get("type", "")).removeprefix("/problems/")
        said = str(answer.get("detail") or f"It answers {status}.")
        if status in {401, 403}:
            said += (
                " --key-file, CONTEXTD_API_KEY, or owner.key in the data folder "
                "(CONTEXTD_DATA) says which key to come with."
            )
        return CannotAsk(said, problem=problem, status=status)
