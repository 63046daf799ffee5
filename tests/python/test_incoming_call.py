"""`IncomingCall` as programs make it in tests."""

from datetime import UTC, datetime

import pytest

from ringback import CallHandler, IncomingCall, InvalidState, SessionId, Transport


def make(**keywords):
    return IncomingCall(**{"id": SessionId(), "from_uri": "sip:a@b", "to_uri": "sip:c@d"} | keywords)


def test_attributes():
    at = datetime(2026, 1, 2, tzinfo=UTC)
    one = SessionId()
    call = make(
        id=one, sdp="v=0", headers={"Subject": "x"}, received_at=at, from_name="Alice", source="192.0.2.1:5060",
        transport=Transport.TCP,
    )  # fmt: skip
    assert (call.id, call.from_uri, call.to_uri, call.sdp) == (one, "sip:a@b", "sip:c@d", "v=0")
    assert (call.received_at, call.from_name, call.source) == (at, "Alice", "192.0.2.1:5060")
    assert call.transport is Transport.TCP and dict(call.headers) == {"Subject": "x"}
    assert repr(call) == f"<IncomingCall {one}: sip:a@b -> sip:c@d>"


def test_defaults():
    call = make()
    assert (call.sdp, call.from_name, call.source, call.transport, dict(call.headers)) == (None, None, None, None, {})
    assert call.received_at.tzinfo is UTC
    assert abs((datetime.now(UTC) - call.received_at).total_seconds()) < 5
    assert call.received_at is call.received_at


def test_headers_have_no_case_and_know_compact_forms():
    call = make(headers={"from": "x", "X-Thing": "y", "s": "hello"})
    assert call.headers["FROM"] == call.headers["f"] == "x"
    assert call.headers["x-thing"] == "y" and call.headers["Subject"] == "hello"
    assert "F" in call.headers and "To" not in call.headers and 7 not in call.headers
    assert list(call.headers) == ["From", "X-Thing", "Subject"] and len(call.headers) == 3
    assert call.headers.get("Nothing") is None
    assert call.header_values("F") == ["x"] and call.header_values("Nothing") == []
    with pytest.raises(KeyError):
        call.headers["Nothing"]


def test_what_is_missing_or_wrong_is_named():
    with pytest.raises(TypeError, match="'to_uri'"):
        IncomingCall(id=SessionId(), from_uri="sip:a@b")
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        make(colour="red")
    with pytest.raises(TypeError, match="id must be a SessionId, not str"):
        make(id="x")
    with pytest.raises(TypeError, match="from_uri must be str, not int"):
        make(from_uri=1)
    with pytest.raises(TypeError, match="headers must be a mapping"):
        make(headers=7)
    with pytest.raises(TypeError, match="keyword arguments only"):
        IncomingCall(SessionId(), "sip:a@b", "sip:c@d")


@pytest.mark.parametrize(
    "answer", [lambda call: call.accept(), lambda call: call.reject("no"), lambda call: call.forward("sip:x@y")]
)
async def test_nobody_answers_a_call_that_was_made_up(answer):
    with pytest.raises(InvalidState, match="not received"):
        await answer(make())


def test_a_handler_can_be_tested_with_it():
    assert CallHandler().on_incoming_call(make()) is None
