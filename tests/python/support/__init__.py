"""Helpers of the Python tests: systems on loopback, a handler that remembers, waiting for conditions, a scripted SIP peer."""

from support.peer import Peer
from support.ports import media_ports
from support.recorder import Recorder
from support.systems import Systems
from support.until import until

__all__ = ["Peer", "Recorder", "Systems", "media_ports", "until"]
