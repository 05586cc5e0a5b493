"""The TLS context of the HTTP listener. grpc brings its own TLS; both take the same files (`receive.tls`)."""

import ssl
from typing import Any

from bridge.settings_receive import Tls
from bridge.telemetry import Metrics

# X.509 verification error 10: the certificate has expired (openssl/x509_vfy.h).
_EXPIRED = 10


def server_context(tls: Tls, metrics: Metrics) -> ssl.SSLContext:
    """TLS 1.2 or newer; with `client_ca_file` no client without a certificate of theirs gets in.

    A failed handshake reaches no handler, so it is counted here, by reason. Raises `OSError` for unusable files.
    """

    class CountedHandshake(ssl.SSLObject):
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                metrics.handshake_failures.labels(_reason(error)).inc()
                raise

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.sslobject_class = CountedHandshake
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.client_ca_file is not None:
        context.load_verify_locations(tls.client_ca_file)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _reason(error: Any) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate_expired" if error.verify_code == _EXPIRED else "certificate_invalid"
    if getattr(error, "reason", None) == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
        return "certificate_missing"
    return "handshake"
