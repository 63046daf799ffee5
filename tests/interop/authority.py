"""Certificates of one authority for both sides of TLS, and a system of ours that has one."""

from pathlib import Path

import trustme
from network import HOST
from systems import builder

from ringback import CallHandler, SessionManagerBuilder, Transport


class Authority:
    """Issues the certificates of both sides, and leaves them as PEM files with keys: `certificate` is ours, `both` the peer's."""

    def __init__(self, place: Path) -> None:
        ca = trustme.CA()
        self.root, self.certificate, self.both = (str(place / name) for name in ("ca.pem", "ours.pem", "theirs.pem"))
        ca.cert_pem.write_to_path(self.root)
        ca.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(self.certificate)
        ca.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(self.both)

    def builder(self, handler: CallHandler | None = None) -> SessionManagerBuilder:
        """Of a system that speaks TLS alone."""
        return builder(handler).with_transport(Transport.TLS, certificate=self.certificate, ca=self.root)
