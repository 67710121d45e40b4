"""The store over TLS: its certificate is asked for, by every kind of connection."""

import asyncio
import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis.exceptions import RedisError

from storage import StorageConfig, StoreUnavailable, connect, make_client
from tests.storage.arranging import create, listening, own
from tests.support.playbook import CONTEXT_ID
from tests.support.store_server import StoreServer

pytestmark = pytest.mark.real_only
NOW: Final = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
UNTIL: Final = datetime.datetime(2120, 1, 1, tzinfo=datetime.UTC)


def make_certificate(folder: Path, address: str) -> Path:
    """A certificate for an address, signed by itself, and its key; the path of both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(UNTIL)
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{address}.pem"
    pem = serialization.Encoding.PEM
    path.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    return path


@contextlib.asynccontextmanager
async def encrypting(server: StoreServer, certificate: Path) -> AsyncGenerator[int, None]:
    """A port on which the server is reached over TLS: the tests' own has none."""

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind, before = await asyncio.open_unix_connection(str(server.socket))
        async with asyncio.TaskGroup() as group:
            group.create_task(pass_on(reader, before), name="in")
            group.create_task(pass_on(behind, writer), name="out")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with listener:
        port: int = listener.sockets[0].getsockname()[1]
        yield port


async def test_the_store_is_reached_over_tls(server: StoreServer, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "127.0.0.1")
    async with encrypting(server, certificate) as port:
        url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={certificate}"
        async with connect(url, StorageConfig()) as store:
            await store.link.call("FLUSHALL")
            await create(store)
            async with listening(store) as ear:
                await own(store)
                await store.link.call("PUBLISH", f"ctx:{{{CONTEXT_ID}}}:feed", "x")
                assert await ear.hears(1) == [b"x"]

        def ask() -> object:
            client = make_client(url, call_s_max=5)
            try:
                return client.exists("workers")
            finally:
                client.close()

        assert await asyncio.to_thread(ask) == 1


@pytest.mark.parametrize("how", ["nobody vouches", "another address"])
async def test_a_certificate_that_is_not_the_store_s_is_refused(
    server: StoreServer, tmp_path: Path, how: str
) -> None:
    address = "127.0.0.1" if how == "nobody vouches" else "127.0.0.2"
    certificate = make_certificate(tmp_path, address)
    query = "" if how == "nobody vouches" else f"?ssl_ca_certs={certificate}"
    async with encrypting(server, certificate) as port:
        url = f"rediss://127.0.0.1:{port}/0{query}"
        with pytest.raises(ExceptionGroup) as refused:
            async with connect(url, StorageConfig(store_call_s_max=0.5)):
                pass
        assert refused.group_contains(StoreUnavailable)

        def ask() -> object:
            client = make_client(url, call_s_max=5)
            try:
                return client.exists("workers")
            finally:
                client.close()

        with pytest.raises(RedisError):
            await asyncio.to_thread(ask)
