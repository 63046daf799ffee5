//! SDP offers and answers for audio (RFC 8866, RFC 3264).
