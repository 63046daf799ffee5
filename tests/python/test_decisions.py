import pickle

import pytest

from ringback import CallDecision

ALL = [
    CallDecision.Accept(),
    CallDecision.Accept("v=0", headers={"X-Name": "value"}),
    CallDecision.Reject("Busy Here", status=486, headers={"Retry-After": "30"}),
    CallDecision.Defer(),
    CallDecision.Forward("sip:a@example.com", "sip:b@example.com", parallel=True, ring_seconds=10),
    CallDecision.Forward("sip:a@example.com", redirect=True),
]


@pytest.mark.parametrize("decision", ALL, ids=repr)
def test_every_kind_is_a_decision_and_a_value(decision):
    assert isinstance(decision, CallDecision)
    again = eval(repr(decision))
    assert again == decision and hash(again) == hash(decision)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(decision, protocol)) == decision
    assert [other for other in ALL if other == decision] == [decision]


def test_attributes():
    accept = CallDecision.Accept("v=0", headers={"A": "1", "B": "2"})
    assert (accept.sdp, accept.headers) == ("v=0", {"A": "1", "B": "2"})
    assert (CallDecision.Accept().sdp, CallDecision.Accept().headers) == (None, None)
    reject = CallDecision.Reject("no")
    assert (reject.reason, reject.status) == ("no", 603)
    forward = CallDecision.Forward("sip:a@b", "sip:c@d")
    assert (forward.target, forward.targets) == ("sip:a@b", ("sip:a@b", "sip:c@d"))
    assert (forward.redirect, forward.parallel, forward.ring_seconds) == (False, False, 30.0)


def test_decisions_cannot_be_changed():
    for decision, name in [(CallDecision.Accept(), "sdp"), (CallDecision.Reject("x"), "status")]:
        with pytest.raises(AttributeError):
            setattr(decision, name, None)


def test_match():
    def describe(decision):
        match decision:
            case CallDecision.Accept(sdp=None):
                return "accept"
            case CallDecision.Accept(sdp):
                return f"accept {sdp}"
            case CallDecision.Reject(reason, status):
                return f"{status} {reason}"
            case CallDecision.Defer():
                return "defer"
            case CallDecision.Forward(target):
                return target

    assert [describe(each) for each in ALL] == [
        "accept", "accept v=0", "486 Busy Here", "defer", "sip:a@example.com", "sip:a@example.com",
    ]  # fmt: skip


@pytest.mark.parametrize("status", [0, 100, 200, 302, 399, 700, -1, 10**30])
def test_a_refusal_is_400_to_699(status):
    with pytest.raises((ValueError, OverflowError)):  # Python cannot even pass the last one
        CallDecision.Reject("x", status=status)


@pytest.mark.parametrize(
    "make",
    [
        lambda: CallDecision.Accept(7),
        lambda: CallDecision.Accept(headers=["x"]),
        lambda: CallDecision.Accept(headers={1: "x"}),
        lambda: CallDecision.Accept(headers={"x": 1}),
        lambda: CallDecision.Accept("v=0", {"X": "positional"}),
        lambda: CallDecision.Reject(),
        lambda: CallDecision.Reject(486),
        lambda: CallDecision.Forward(),
        lambda: CallDecision.Forward(None),
        lambda: CallDecision(),
    ],
)
def test_wrong_types_are_told_at_once(make):
    with pytest.raises(TypeError):
        make()


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_ring_seconds_must_be_a_time(seconds):
    with pytest.raises(ValueError, match="ring_seconds"):
        CallDecision.Forward("sip:a@b", ring_seconds=seconds)


def test_names():
    assert CallDecision.Accept.__qualname__ == "CallDecision.Accept"
    assert CallDecision.Accept.__module__ == "ringback"
