import pickle

import pytest

import ringback
from ringback import (
    AnswerTimeout,
    BindError,
    BridgeNotFound,
    CallFailed,
    CallRejected,
    CallState,
    InvalidHeader,
    InvalidState,
    InvalidUri,
    SdpError,
    SessionError,
    SessionId,
    SessionNotFound,
)  # fmt: skip


def test_all_have_one_base():
    errors = [each for each in vars(ringback).values() if isinstance(each, type) and issubclass(each, Exception)]
    assert len(errors) >= 15
    assert all(issubclass(each, SessionError) for each in errors)


@pytest.mark.parametrize(
    ("error", "base"),
    [
        (InvalidUri, ValueError), (BindError, OSError), (SessionNotFound, LookupError), (SdpError, ValueError),
        (InvalidHeader, ValueError), (AnswerTimeout, TimeoutError), (BridgeNotFound, LookupError),
    ],
)  # fmt: skip
def test_the_builtin_kin(error, base):
    assert issubclass(error, base)


@pytest.mark.parametrize(
    "error",
    [
        InvalidUri("not a URI: 'x'", uri="x"),
        BindError("Failed to bind SIP port 5060: Address already in use", errno=98),
        SessionNotFound("no session", session_id=SessionId()),
        InvalidState("does not fit", state=CallState.RINGING),
        CallRejected(status=302, reason="Moved Temporarily", targets=["sip:a@b"]),
        CallFailed(status=408, cause="no answer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_attributes_survive_pickling(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)


def test_messages():
    assert str(CallRejected(status=486, reason="Busy Here")) == "486 Busy Here"
    assert str(CallFailed(cause="no route")) == "no route"
    assert str(BindError("Failed to bind SIP port 5060: taken")).startswith("Failed to bind SIP port 5060")


def test_all_that_is_public_is_named():
    assert set(ringback.__all__) <= set(dir(ringback))
    for name in ringback.__all__:
        assert getattr(ringback, name).__doc__, name
