//! SIP messages, headers, URIs and stream framing (RFC 3261).
