"""PJSUA2 as a program: JSON commands come on standard input, one a line, and events go out on standard output.

Run by `pjsua_peer.Pjsua`; knows nothing of ringback. The only argument is the settings as JSON.
"""

import json
import os
import select
import sys
from typing import Any

import pjsua2 as pj

settings: dict[str, Any] = json.loads(sys.argv[1])
# PJSUA's own messages must not get between the events.
events = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

PRACK = {
    "off": pj.PJSUA_100REL_NOT_USED,
    "optional": pj.PJSUA_100REL_OPTIONAL,
    "mandatory": pj.PJSUA_100REL_MANDATORY,
}
TIMER = {
    "off": pj.PJSUA_SIP_TIMER_INACTIVE,
    "optional": pj.PJSUA_SIP_TIMER_OPTIONAL,
    "required": pj.PJSUA_SIP_TIMER_REQUIRED,
    "always": pj.PJSUA_SIP_TIMER_ALWAYS,
}


STATES = {
    pj.PJSIP_INV_STATE_CALLING: "calling",
    pj.PJSIP_INV_STATE_INCOMING: "incoming",
    pj.PJSIP_INV_STATE_EARLY: "early",
    pj.PJSIP_INV_STATE_CONNECTING: "connecting",
    pj.PJSIP_INV_STATE_CONFIRMED: "confirmed",
    pj.PJSIP_INV_STATE_DISCONNECTED: "disconnected",
}


def tell(event: str, **more: Any) -> None:
    events.write(json.dumps({"event": event, **more}) + "\n")


class Call(pj.Call):
    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        tell("state", call=info.id, state=STATES.get(info.state, ""), code=info.lastStatusCode, reason=info.lastReason)
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            calls.pop(info.id, None)
        else:
            calls[info.id] = self

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        info = self.getInfo()
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            codec = ""
            if media.status in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                audio = self.getAudioMedia(index)
                tones.startTransmit(audio)
                audio.startTransmit(recorder)
                codec = self.getStreamInfo(index).codecName
            status = {
                pj.PJSUA_CALL_MEDIA_ACTIVE: "active",
                pj.PJSUA_CALL_MEDIA_LOCAL_HOLD: "local hold",
                pj.PJSUA_CALL_MEDIA_REMOTE_HOLD: "remote hold",
            }.get(media.status, "none")
            tell("media", call=info.id, status=status, codec=codec)

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        tell("digit", digit=prm.digit)

    def onCallTransferStatus(self, prm: pj.OnCallTransferStatusParam) -> None:
        tell("transfer status", code=prm.statusCode, final=prm.finalNotify)

    def onCallTransferRequest(self, prm: pj.OnCallTransferRequestParam) -> None:
        tell("transfer request", uri=prm.dstUri)
        new = Call(account)
        keep.append(new)
        prm.newCall = new

    def onCallTsxState(self, prm: pj.OnCallTsxStateParam) -> None:
        transaction = prm.e.body.tsxState.tsx
        if transaction.state == pj.PJSIP_TSX_STATE_COMPLETED:
            tell("transaction", method=transaction.method, code=transaction.statusCode, role=transaction.role)

    def onInstantMessage(self, prm: pj.OnInstantMessageParam) -> None:
        tell("message", text=prm.msgBody, type=prm.contentType)


class Account(pj.Account):
    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        call = Call(self, prm.callId)
        calls[prm.callId] = call
        tell("incoming", call=prm.callId, uri=call.getInfo().remoteUri, message=prm.rdata.wholeMsg)
        if settings["answer"]:
            answer(call, settings["answer"])

    def onInstantMessage(self, prm: pj.OnInstantMessageParam) -> None:
        tell("message", text=prm.msgBody, type=prm.contentType, sender=prm.fromUri)

    def onInstantMessageStatus(self, prm: pj.OnInstantMessageStatusParam) -> None:
        tell("message status", code=prm.code)

    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        tell("registration", code=prm.code, expires=prm.expiration)

    def onMwiInfo(self, prm: pj.OnMwiInfoParam) -> None:
        tell("message waiting", body=prm.rdata.wholeMsg)


def answer(call: Call, code: int) -> None:
    parameters = pj.CallOpParam(True)
    parameters.statusCode = code
    call.answer(parameters)


def carry_out(command: dict[str, Any]) -> None:
    do = command["do"]
    call = calls.get(command.get("call", next(iter(calls), -1)))
    parameters = pj.CallOpParam(True)
    if do == "call":
        for name, value in command.get("headers", {}).items():
            header = pj.SipHeader()
            header.hName, header.hValue = name, value
            parameters.txOption.headers.append(header)
        call = Call(account)
        call.makeCall(command["uri"], parameters)
        calls[call.getInfo().id] = call
    elif do == "message":
        buddy = pj.Buddy()
        config = pj.BuddyConfig()
        config.uri = command["uri"]
        buddy.create(account, config)
        keep.append(buddy)
        message = pj.SendInstantMessageParam()
        message.content = command["text"]
        buddy.sendInstantMessage(message)
    elif do == "unregister":
        account.setRegistration(False)
    elif call is None:
        raise ValueError("no call")
    elif do == "answer":
        answer(call, command["code"])
    elif do == "hangup":
        parameters.statusCode = command.get("code", 0)
        call.hangup(parameters)
    elif do == "hold":
        call.setHold(parameters)
    elif do == "unhold":
        parameters.opt.flag = pj.PJSUA_CALL_UNHOLD
        call.reinvite(parameters)
    elif do == "update":
        call.update(parameters)
    elif do == "reinvite":
        call.reinvite(parameters)
    elif do == "transfer":
        call.xfer(command["uri"], parameters)
    elif do == "transfer to call":
        call.xferReplaces(calls[command["other"]], parameters)
    elif do == "digits":
        call.dialDtmf(command["digits"])
    else:
        raise ValueError(f"unknown command {do!r}")


def configure() -> pj.Endpoint:
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0
    config.uaConfig.mainThreadOnly = True
    config.logConfig.level = config.logConfig.consoleLevel = 5
    config.logConfig.msgLogging = 1
    config.medConfig.clockRate = config.medConfig.sndClockRate = 8000
    config.medConfig.noVad = True
    config.medConfig.ecTailLen = 0
    endpoint.libInit(config)
    kind = {
        "udp": pj.PJSIP_TRANSPORT_UDP,
        "tcp": pj.PJSIP_TRANSPORT_TCP,
        "tls": pj.PJSIP_TRANSPORT_TLS,
    }
    for name in settings["transports"]:
        transport = pj.TransportConfig()
        transport.port = settings["port"] + (1 if name == "tls" else 0)
        transport.boundAddress = settings["host"]
        if name == "tls" and "ca" in settings:
            transport.tlsConfig.CaListFile = settings["ca"]
            transport.tlsConfig.certFile = settings.get("certificate", "")
            transport.tlsConfig.privKeyFile = settings.get("key", "")
            transport.tlsConfig.verifyServer = True
        endpoint.transportCreate(kind[name], transport)
    endpoint.libStart()
    endpoint.audDevManager().setNullDev()
    for codec in endpoint.codecEnum2():
        wanted = [name for name in settings["codecs"] if codec.codecId.lower().startswith(name.lower())]
        endpoint.codecSetPriority(codec.codecId, 200 - settings["codecs"].index(wanted[0]) if wanted else 0)
    return endpoint


def account_config() -> pj.AccountConfig:
    config = pj.AccountConfig()
    config.idUri = settings["id"]
    config.callConfig.prackUse = PRACK[settings["prack"]]
    config.callConfig.timerUse = TIMER[settings["timer"]]
    config.callConfig.timerSessExpiresSec = settings["timer_expires"]
    config.callConfig.timerMinSESec = min(90, settings["timer_expires"])
    config.mediaConfig.transportConfig.port = settings["rtp"]
    config.mediaConfig.transportConfig.portRange = 6
    config.mediaConfig.transportConfig.boundAddress = settings["host"]
    config.mediaConfig.transportConfig.publicAddress = settings["host"]
    config.mediaConfig.rtcpMuxEnabled = settings.get("rtcp_mux", False)
    config.natConfig.contactRewriteUse = 0
    config.mwiConfig.enabled = settings.get("mwi", False)
    if "registrar" in settings:
        config.regConfig.registrarUri = settings["registrar"]
        config.regConfig.timeoutSec = 300
    if "username" in settings:
        credentials = pj.AuthCredInfo("digest", "*", settings["username"], 0, settings["password"])
        config.sipConfig.authCreds.append(credentials)
    if "proxy" in settings:
        config.sipConfig.proxies.append(settings["proxy"])
    return config


def serve(endpoint: pj.Endpoint) -> None:
    """Until standard input ends."""
    waiting = b""
    while True:
        endpoint.libHandleEvents(10)
        if not select.select([0], [], [], 0)[0]:
            continue
        read = os.read(0, 65_536)
        if not read:
            return
        # What has come before the command counts before it: an ACK, without which it could not offer anew.
        while endpoint.libHandleEvents(0) > 0:
            pass
        *lines, waiting = (waiting + read).split(b"\n")
        for line in lines:
            command = json.loads(line)
            try:
                carry_out(command)
                tell("done", token=command["token"])
            except (pj.Error, ValueError) as error:
                text = error.info() if isinstance(error, pj.Error) else str(error)
                tell("done", token=command["token"], error=text)


calls: dict[int, Call] = {}
keep: list[Any] = []
endpoint = configure()
recorder = pj.AudioMediaRecorder()
recorder.createRecorder(os.path.join(settings["folder"], "heard.wav"))
tones = pj.ToneGenerator()
tones.createToneGenerator(8000)
tone = pj.ToneDesc()
tone.freq1, tone.freq2, tone.on_msec, tone.off_msec, tone.volume = int(settings["frequency"]), 0, 1000, 0, 8000
sequence = pj.ToneDescVector()
sequence.append(tone)
tones.play(sequence, True)
account = Account()
account.create(account_config())
tell("ready")
serve(endpoint)
for call in list(calls.values()):
    call.hangup(pj.CallOpParam(True))
endpoint.hangupAllCalls()
for _ in range(30):
    endpoint.libHandleEvents(10)
events.flush()
# Its own clean-up and that of the interpreter do not agree on their order.
os._exit(0)
