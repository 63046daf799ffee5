"""Test a handler without a network: an `IncomingCall` can be made by hand, and a decision is a plain value.

python -m pytest handler_unit_test.py
python handler_unit_test.py --self-test
"""

import unittest

from ringback import CallDecision, CallHandler, IncomingCall, SessionId


class Doorman(CallHandler):
    """The handler under test: emergencies first, suppliers to the gate, others by their language."""

    def on_incoming_call(self, call: IncomingCall) -> CallDecision:
        if call.headers.get("Priority") == "emergency":
            return CallDecision.Accept()
        if call.from_uri.endswith("@supplier.example"):
            return CallDecision.Forward("sip:gate@example.com", ring_seconds=10)
        if "de" in call.headers.get("Accept-Language", ""):
            return CallDecision.Reject("Heute geschlossen", status=480)
        return CallDecision.Reject("Closed today", status=480)


def incoming(from_uri: str = "sip:someone@example.com", **headers: str) -> IncomingCall:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return IncomingCall(id=SessionId(), from_uri=from_uri, to_uri="sip:door@example.com", headers=names)


class DoormanTest(unittest.TestCase):
    def setUp(self) -> None:
        self.doorman = Doorman()

    def test_emergencies_are_accepted(self) -> None:
        self.assertIsInstance(self.doorman.on_incoming_call(incoming(Priority="emergency")), CallDecision.Accept)

    def test_header_names_have_no_case(self) -> None:
        self.assertIsInstance(self.doorman.on_incoming_call(incoming(PRIORITY="emergency")), CallDecision.Accept)

    def test_suppliers_go_to_the_gate(self) -> None:
        match self.doorman.on_incoming_call(incoming("sip:truck@supplier.example")):
            case CallDecision.Forward(target=target, ring_seconds=seconds):
                self.assertEqual((target, seconds), ("sip:gate@example.com", 10))
            case other:
                self.fail(f"decided {other!r}")

    def test_others_are_told_in_their_language(self) -> None:
        match self.doorman.on_incoming_call(incoming(Accept_Language="de-CH")):
            case CallDecision.Reject(reason=reason, status=480):
                self.assertEqual(reason, "Heute geschlossen")
            case other:
                self.fail(f"decided {other!r}")


if __name__ == "__main__":
    import sys

    unittest.main(argv=[sys.argv[0]])
