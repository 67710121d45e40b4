"""TLS on the port of the gateways, and what is no certificate."""

import contextlib
import datetime
import ssl
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Final

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import ValidationError

from gateway import BadCertificate, GatewayConfig, tls_context
from gateway.browsers import Browsers
from tests.gateway.bare import raw, rest
from tests.support.service import Service, serving

NAME: Final = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
PLAIN: Final = serialization.NoEncryption()


def write_key(
    file: Path,
    key: ec.EllipticCurvePrivateKey,
    encryption: serialization.KeySerializationEncryption = PLAIN,
) -> Path:
    """Put a key into a file."""
    kind = serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, kind, encryption))
    return file


def write_certificate(file: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    """Put a certificate for localhost into a file, signed by itself."""
    now = datetime.datetime.now(datetime.UTC)  # noqa: TID251 - clients ask the real clock
    made = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return file


@contextlib.asynccontextmanager
async def encrypted(store_url: str, folder: Path) -> AsyncGenerator[Service, None]:
    """Run a service that speaks https, and a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = write_certificate(folder / "cert.pem", key)
    options = {"tls_cert": certificate, "tls_key": write_key(folder / "key.pem", key)}
    trust = ssl.create_default_context(cafile=certificate)
    async with (
        serving(store_url, gateway={**options, "head_s_max": 0.5}) as service,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session,
    ):
        url = service.client.url.replace("http://127.0.0.1", "https://localhost")
        service.clients[0] = replace(service.client, url=url, session=session)
        yield service


async def test_everything_is_spoken_encrypted(store_url: str, tmp_path: Path) -> None:
    async with encrypted(store_url, tmp_path) as service:
        client = service.client
        context_id = await client.create()
        async with client.stream(context_id) as stream:
            await stream.take("snapshot")
            assert (await client.say(context_id, "Hello")).status == 200
            await stream.take("reply-ended")
            transport = stream.response.connection and stream.response.connection.transport
            assert transport is not None
            spoken = transport.get_extra_info("ssl_object")
            assert spoken.version() == "TLSv1.3"
        url = f"{client.url}/api/contexts/{context_id}/ws"
        async with client.session.ws_connect(url, origin=client.url) as socket:
            assert (await socket.receive_json())["event"] == "hello"


async def test_what_does_not_speak_tls_is_told_nothing(store_url: str, tmp_path: Path) -> None:
    async with encrypted(store_url, tmp_path) as service:
        for sent in (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01", b""):
            # Whoever begins and says no more is waited for as long as for a head.
            async with raw(service) as (reader, writer):
                writer.write(sent)
                assert b"HTTP/" not in await rest(reader)
        assert (await service.client.get("/healthz")).status == 200


def test_versions_that_are_broken_are_not_spoken(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = write_certificate(tmp_path / "cert.pem", key)
    private = write_key(tmp_path / "key.pem", key)
    context = tls_context(GatewayConfig(tls_cert=certificate, tls_key=private))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert tls_context(GatewayConfig()) is None


def test_what_is_no_certificate_is_refused_at_the_start(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = write_certificate(tmp_path / "cert.pem", key)
    good = write_key(tmp_path / "key.pem", key)
    other = write_key(tmp_path / "other.pem", ec.generate_private_key(ec.SECP256R1()))
    locked = write_key(
        tmp_path / "locked.pem", key, serialization.BestAvailableEncryption(b"secret")
    )
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.touch()
    for cert, private, told in (
        (missing, good, f"tls_cert: {missing} cannot be read: No such file"),
        (certificate, missing, f"tls_key: {missing} cannot be read: No such file"),
        (tmp_path, good, "Is a directory"),
        (empty, good, "are no certificate"),
        (certificate, empty, "are no certificate"),
        (good, certificate, "are no certificate"),
        (certificate, other, "KEY_VALUES_MISMATCH"),
        (certificate, locked, "not encrypted"),
    ):
        with pytest.raises(BadCertificate, match=told):
            tls_context(GatewayConfig(tls_cert=cert, tls_key=private))
    for half in ({"tls_cert": certificate}, {"tls_key": good}):
        with pytest.raises(ValidationError, match="tls_cert and tls_key belong together"):
            GatewayConfig.model_validate(half)


@pytest.mark.parametrize(
    ("host", "tls", "told"),
    [("192.0.2.1", True, "max-age=31536000"), ("192.0.2.1", False, None), ("::1", True, None)],
)
async def test_browsers_are_told_to_stay_with_https_where_others_reach_us(
    host: str, tls: bool, told: str | None
) -> None:
    files = {"tls_cert": "cert.pem", "tls_key": "key.pem"} if tls else {}
    browsers = Browsers(GatewayConfig.model_validate({"host": host, **files}))
    response = web.Response()
    await browsers.protect(make_mocked_request("GET", "/"), response)
    assert response.headers.get("Strict-Transport-Security") == told
