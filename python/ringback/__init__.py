"""Telephone systems in Python: SIP, RTP and audio in a native engine, calls decided by asyncio handlers.

    class Hello(CallHandler):
        async def on_incoming_call(self, call):
            return CallDecision.Accept()

    async def main():
        async with await SessionManagerBuilder().with_handler(Hello()).build() as coordinator:
            print(coordinator.local_address)
            await asyncio.Event().wait()

A `SessionManagerBuilder` builds a `SessionCoordinator`; a `CallHandler` is told of calls and decides; `SessionControl`
and `MediaControl` do things with them.
"""

from ringback._ringback import BridgeId, CallDecision, SessionId, __version__
from ringback._seconds import Seconds
from ringback.accounts import Account, Registration, RegistrationState
from ringback.audio import AudioStream
from ringback.authentication import Authenticator, Credentials
from ringback.batches import AudioBatch, AudioBatches
from ringback.bridges import BridgeEvent, BridgeEventKind, BridgeInfo, BridgeRole
from ringback.builder import SessionManagerBuilder
from ringback.control import SessionControl, SessionStats
from ringback.coordinator import SessionCoordinator
from ringback.counters import Counters
from ringback.errors import (
    AnswerTimeout,
    BindError,
    BridgeNotFound,
    CallCancelled,
    CallFailed,
    CallRejected,
    InvalidHeader,
    InvalidState,
    InvalidUri,
    MediaError,
    NotRunningError,
    RegistrationFailed,
    RegistrationTimeout,
    ResourceExhausted,
    SdpError,
    SessionError,
    SessionNotFound,
    TransferFailed,
)
from ringback.handlers import AutoAnswerHandler, CallHandler, CompositeHandler, QueueHandler, RoutingHandler
from ringback.incoming import IncomingCall
from ringback.limits import Limits
from ringback.media import MediaControl, MediaInfo, MediaStatistics, QualityMetrics
from ringback.messages import Message
from ringback.options import OptionsReply
from ringback.recording import Recording
from ringback.registrar import Binding, BindingStore, FlowBindingStore, Registrar
from ringback.reports import RemoteMetrics, VoipMetrics
from ringback.session import CallSession
from ringback.states import CallDirection, CallState, DtmfMethod, Signal, Transport
from ringback.subscriptions import Notification, Subscription

__all__ = [
    "Account",
    "AnswerTimeout",
    "AudioBatch",
    "AudioBatches",
    "AudioStream",
    "Authenticator",
    "AutoAnswerHandler",
    "BindError",
    "Binding",
    "BindingStore",
    "BridgeEvent",
    "BridgeEventKind",
    "BridgeId",
    "BridgeInfo",
    "BridgeNotFound",
    "BridgeRole",
    "CallCancelled",
    "CallDecision",
    "CallDirection",
    "CallFailed",
    "CallHandler",
    "CallRejected",
    "CallSession",
    "CallState",
    "CompositeHandler",
    "Counters",
    "Credentials",
    "DtmfMethod",
    "FlowBindingStore",
    "IncomingCall",
    "InvalidHeader",
    "InvalidState",
    "InvalidUri",
    "Limits",
    "MediaControl",
    "MediaError",
    "MediaInfo",
    "MediaStatistics",
    "Message",
    "NotRunningError",
    "Notification",
    "OptionsReply",
    "QualityMetrics",
    "QueueHandler",
    "Recording",
    "Registrar",
    "Registration",
    "RegistrationFailed",
    "RegistrationState",
    "RegistrationTimeout",
    "RemoteMetrics",
    "ResourceExhausted",
    "RoutingHandler",
    "SdpError",
    "Seconds",
    "SessionControl",
    "SessionCoordinator",
    "SessionError",
    "SessionId",
    "SessionManagerBuilder",
    "SessionNotFound",
    "SessionStats",
    "Signal",
    "Subscription",
    "TransferFailed",
    "Transport",
    "VoipMetrics",
    "__version__",
]
