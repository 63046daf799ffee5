"""Instant messages outside of calls; the operations are `SessionControl.send_message` and `CallHandler.on_message`."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Message:
    """A MESSAGE that came (RFC 3428), outside of any call or within one."""

    from_uri: str
    to_uri: str
    content_type: str
    """As the sender wrote it, parameters and all; "text/plain" where it wrote none."""
    body: str
    """What the bytes say in the content type's charset, UTF-8 where it names none."""
