"""SIPp scenarios, put together from steps.

`scenario("hold", invite(), receive(200), ack(), ...)` is the XML of a peer that calls, one that begins with
`receive_request("INVITE")` that of a peer that is called. Nothing in a scenario waits for a time to pass: where the
peer has to wait until ringback or the test
has got somewhere, it waits for an INFO (`wait_for_go_on`), which the test sends as a digit (`systems.go_on`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

PCMU = ("0", "PCMU/8000")
PCMA = ("8", "PCMA/8000")
EVENTS = ("101", "telephone-event/8000")
G729 = ("18", "G729/8000")


@dataclass(frozen=True)
class Step:
    xml: str
    # A request's name: later steps of the same transaction have its branch, written as `[branch-of:NAME]`.
    label: str | None = None


def scenario(name: str, *steps: Step) -> str:
    """The XML of a scenario."""
    labels = {step.label: index for index, step in enumerate(steps) if step.label}
    body = []
    for index, step in enumerate(steps):
        body.append(re.sub(r"\[branch-of:(\w+)\]", lambda found: f"[branch-{index - labels[found[1]]}]", step.xml))  # noqa: B023
    variables = sorted(set(re.findall(r'assign_to="(\w+)"', "".join(body))))
    # SIPp takes a variable that is never read for a mistake.
    reference = f"<Reference variables={quoteattr(','.join(variables))} />" if variables else ""
    return f'<?xml version="1.0"?>\n<scenario name={quoteattr(name)}>\n{"".join(body)}{reference}</scenario>\n'


def sdp(
    *formats: tuple[str, str],
    version: int = 1,
    direction: str = "sendrecv",
    port: str = "[media_port]",
    address: str = "[media_ip]",
    more: Sequence[str] = (),
) -> str:
    """A session description of one audio stream, PCMU where no formats are named."""
    formats = formats or (PCMU,)
    lines = [
        "v=0",
        f"o=peer 4711 {version} IN IP[local_ip_type] [local_ip]",
        "s=-",
        f"c=IN IP[media_ip_type] {address}",
        "t=0 0",
        f"m=audio {port} RTP/AVP {' '.join(number for number, _ in formats)}",
        *(f"a=rtpmap:{number} {name}" for number, name in formats),
        f"a={direction}",
        *more,
    ]
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ messages of a caller


def invite(
    body: str | None = "",
    *,
    cseq: int = 1,
    headers: Sequence[str] = (),
    label: str = "INVITE",
    again: str | None = None,
    early: bool | None = None,
) -> Step:
    """An INVITE, the first or (`cseq` above 1, unless `early` says otherwise) one within the dialog. `body` None: without an offer.
    `again`: the one of that label once more, as a retransmission."""
    return request(
        "INVITE", cseq=cseq, body=sdp() if body == "" else body, headers=headers, label=label, again=again, early=early
    )


def request(
    method: str,
    *,
    cseq: int,
    body: str | None = None,
    content_type: str = "application/sdp",
    headers: Sequence[str] = (),
    label: str | None = None,
    again: str | None = None,
    early: bool | None = None,
    called: bool = False,
) -> Step:
    """A request. Within the dialog it goes to the peer's Contact, else (`early`) to where the call began. `called`: of the one who
    was called, after a `receive_remembered` within the dialog."""
    early = cseq == 1 and method != "BYE" and not called if early is None else early
    uri = "sip:[service]@[remote_ip]:[remote_port]" if early else "[next_url]"
    tag = "" if early else "[peer_tag_param]"
    branch = f"[branch-of:{again}]" if again else "[branch]"
    ends = (
        "From: peer <sip:peer@[local_ip]:[local_port]>;tag=[pid]c[call_number]",
        f"To: <sip:[service]@[remote_ip]:[remote_port]>{tag}",
    )
    if called:
        ends = ("From:[$to]", "To:[$from]")
    return _send(
        [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch={branch}",
            *(() if early else ("[routes]",)),
            *ends,
            "Call-ID: [call_id]",
            f"CSeq: {cseq} {method}",
            CONTACT,
            "Max-Forwards: 70",
            *headers,
        ],
        body,
        content_type=content_type,
        # A retransmission that is sent on purpose is not to be retransmitted itself.
        retransmit=method != "ACK" and not again,
        label=None if again else label,
    )


def ack(*, cseq: int = 1, body: str | None = None) -> Step:
    """The ACK to a 2xx: a transaction of its own."""
    return request("ACK", cseq=cseq, body=body, early=False)


def ack_refusal(*, cseq: int = 1, of: str = "INVITE") -> Step:
    """The ACK to a 3xx-6xx: of the INVITE's transaction (RFC 3261 §17.1.1.3)."""
    return _send(
        [
            "ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-of:{of}]",
            "From: peer <sip:peer@[local_ip]:[local_port]>;tag=[pid]c[call_number]",
            "To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]",
            "Call-ID: [call_id]",
            f"CSeq: {cseq} ACK",
            "Max-Forwards: 70",
        ],
        None,
        retransmit=False,
    )


def cancel(*, of: str = "INVITE") -> Step:
    return _send(
        [
            "CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0",
            f"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-of:{of}]",
            "From: peer <sip:peer@[local_ip]:[local_port]>;tag=[pid]c[call_number]",
            "To: <sip:[service]@[remote_ip]:[remote_port]>",
            "Call-ID: [call_id]",
            "CSeq: 1 CANCEL",
            "Max-Forwards: 70",
        ],
        None,
    )


def bye(*, cseq: int = 2, label: str | None = "BYE", again: str | None = None) -> Step:
    return request("BYE", cseq=cseq, label=label, again=again)


# ------------------------------------------------------------------------------------------------ messages of a callee

CONTACT = "Contact: <sip:peer@[local_ip]:[local_port];transport=[transport]>"


def respond(
    status: str,
    body: str | None = None,
    *,
    tag: bool = True,
    headers: Sequence[str] = (CONTACT,),
    retransmit: bool = False,
    remembered: bool = False,
) -> Step:
    """A response to the request that came last, or to the one that `receive_invite` has remembered. `tag`: the To of the request has
    none yet; `retransmit`: until the ACK comes."""
    head = ["[last_Via:]", "[last_From:]", "[last_To:]", "[last_CSeq:]"]
    if remembered:
        head = [f"{name}:[${variable}]" for variable, name in _REMEMBERED.items()]
    if tag:
        head[2] += ";tag=[pid]s[call_number]"
    return _send([f"SIP/2.0 {status}", *head, "Call-ID: [call_id]", *headers], body, retransmit=retransmit)


def accept(body: str = "", *, tag: bool = True, remembered: bool = False) -> Step:
    """200 to an INVITE."""
    return respond("200 OK", body or sdp(), tag=tag, retransmit=True, remembered=remembered)


def request_terminated() -> Step:
    """487 to the INVITE, after its CANCEL."""
    return _send(
        [
            "SIP/2.0 487 Request Terminated",
            "[last_Via:]",
            "[last_From:]",
            "[last_To:];tag=[pid]s[call_number]",
            "[last_Call-ID:]",
            "CSeq: [last_cseq_number] INVITE",
        ],
        None,
        retransmit=True,
    )


# ------------------------------------------------------------------------------------------------ what is waited for


def receive(status: int, *, text: str | None = None, optional: bool = False) -> Step:
    """Waits for a response; the POSIX regular expression `text` has to be in it (a dot is any character, a line's end too)."""
    return _receive(f'response="{status}" rrs="true"' + (' optional="true"' if optional else ""), text)


def receive_final(status: int, *, text: str | None = None) -> tuple[Step, ...]:
    """Waits for a final response, past any 100 and 180: `scenario("x", invite(), *receive_final(200), ...)`."""
    return receive(100, optional=True), receive(180, optional=True), receive(status, text=text)


def receive_request(method: str, *, text: str | None = None) -> Step:
    return _receive(f'request="{method}"' + (' rrs="true"' if method == "INVITE" else ""), text)


_REMEMBERED = {"via": "Via", "from": "From", "to": "To", "cseq": "CSeq"}


def receive_remembered(method: str, *, text: str | None = None) -> Step:
    """Waits for a request and remembers it: it can be answered (`remembered`) after something else has come, and whoever was called
    can go on from it (`request(..., called=True)`)."""
    actions = "".join(
        f'<ereg regexp=".*" search_in="hdr" header="{name}:" assign_to="{variable}" />'
        for variable, name in _REMEMBERED.items()
    )
    return _receive(f'request="{method}"' + (' rrs="true"' if method == "INVITE" else ""), text, actions)


def receive_invite() -> Step:
    return receive_remembered("INVITE")


def wait_for_poke() -> Step:
    """Waits until the test says so where there is no call yet that an INFO could go by: see `Sipp.poke`."""
    return receive_request("INFO")


def wait_for_go_on() -> tuple[Step, Step]:
    """Waits until the test says that it has seen what it wanted to see: see `systems.go_on`."""
    return receive_request("INFO"), respond("200 OK", tag=False, headers=())


def receive_bye() -> tuple[Step, Step]:
    return receive_request("BYE"), respond("200 OK", tag=False, headers=())


def pause(milliseconds: int) -> Step:
    """For behaviour of the peer that is about time itself, never to wait for something."""
    return Step(f'<pause milliseconds="{milliseconds}" />\n')


def _receive(attributes: str, text: str | None, actions: str = "") -> Step:
    if text is not None:
        actions += f'<ereg regexp={quoteattr(text)} search_in="msg" check_it="true" assign_to="found" />'
    if not actions:
        return Step(f"<recv {attributes} />\n")
    return Step(f"<recv {attributes}><action>{actions}</action></recv>\n")


def _send(
    lines: Sequence[str],
    body: str | None,
    *,
    content_type: str = "application/sdp",
    retransmit: bool = True,
    label: str | None = None,
) -> Step:
    ending = [f"Content-Type: {content_type}", "Content-Length: [len]"] if body is not None else ["Content-Length: 0"]
    text = "\n".join([*lines, *ending, "", body if body is not None else ""])
    attributes = ' retrans="500"' if retransmit else ""
    return Step(f"<send{attributes}>\n<![CDATA[\n\n{text}\n\n]]>\n</send>\n", label)
