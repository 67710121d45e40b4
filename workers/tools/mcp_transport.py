"""HTTP to an MCP server, at the address that its name stood for when it was connected."""

import httpx2
from typing_extensions import override

from workers.outward import addresses_of


class PinnedTransport(httpx2.AsyncHTTPTransport):
    """Asks each host at one address, for as long as this lives.

    The certificate and the `Host` header remain those of the name.
    """

    def __init__(self) -> None:
        super().__init__()
        self._addresses: dict[str, tuple[str, ...]] = {}

    @override
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to the first address of its host that takes a connection.

        Raises:
            httpx2.ConnectError: None does, or none may be connected to.
        """
        host = request.url.host
        try:
            addresses = self._addresses.get(host) or await addresses_of(
                host, request.url.port or 0
            )
        except OSError as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        failed: httpx2.ConnectError | None = None
        for address in addresses:
            try:
                response = await super().handle_async_request(_at(address, request))
            except httpx2.ConnectError as error:
                failed = error
            else:
                self._addresses[host] = (address,)
                return response
        assert failed is not None
        raise failed


def _at(address: str, request: httpx2.Request) -> httpx2.Request:
    return httpx2.Request(
        request.method,
        request.url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )
