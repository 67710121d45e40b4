"""TLS on the port of the gateways."""

import ssl

from gateway.config import GatewayConfig


class BadCertificate(Exception):
    """The certificate or its key cannot be used; says why."""


def tls_context(config: GatewayConfig) -> ssl.SSLContext | None:
    """What connections are encrypted with; None: they are not.

    Raises:
        BadCertificate: A file cannot be read, or they do not belong together.
    """
    if config.tls_cert is None or config.tls_key is None:
        return None
    for setting, file in (("tls_cert", config.tls_cert), ("tls_key", config.tls_key)):
        try:
            file.open("rb").close()
        except OSError as error:
            raise BadCertificate(
                f"{setting}: {file} cannot be read: {error.strerror}."
            ) from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a password OpenSSL would ask for one, at a terminal that nobody looks at.
        context.load_cert_chain(config.tls_cert, config.tls_key, password="")
    except ssl.SSLError as error:
        raise BadCertificate(
            f"tls_cert, tls_key: {config.tls_cert} and {config.tls_key} are no certificate "
            f"(PEM) and its key, not encrypted: {error.reason or error}."
        ) from None
    return context
