"""`SessionManagerBuilder`: collects settings and builds a system."""
# pyright: reportUnnecessaryIsInstance=false, reportPrivateUsage=false

import asyncio
import functools
import inspect
import ipaddress
import os
import socket
from collections.abc import Callable
from typing import NamedTuple, Self, TypeAlias

from ringback import _lifecycle, _nat, _ringback
from ringback._seconds import Seconds, seconds
from ringback.accounts import Account
from ringback.authentication import Authenticator, Credentials
from ringback.coordinator import SessionCoordinator
from ringback.errors import BindError
from ringback.handlers.auto_answer import AutoAnswerHandler
from ringback.handlers.base import METHODS, CallHandler
from ringback.limits import Limits
from ringback.registrar import Registrar
from ringback.states import Transport

# RFC 3261 §19.1.2, RFC 7118 §5.5.
_STANDARD_PORTS = {
    Transport.UDP: 5060,
    Transport.TCP: 5060,
    Transport.TLS: 5061,
    Transport.WS: 80,
    Transport.WSS: 443,
}
DEFAULT_USER = "ringback"
DEFAULT_MEDIA_PORTS = (10_000, 20_000)
DEFAULT_OPUS_BITRATE = 32_000
DEFAULT_OPUS_COMPLEXITY = 5

# Certificate, private key, CA, and whether to verify.
_TlsFiles: TypeAlias = tuple[str | None, str | None, str | None, bool]


class _Wanted(NamedTuple):
    """A call of `with_transport`."""

    kind: Transport
    host: str | None
    port: int | None
    tls: _TlsFiles


# RFC 4028 §4: no session interval is shorter, in seconds.
_SHORTEST_SESSION = 90


class SessionManagerBuilder:
    """Collects settings; each `with_*` checks its own and returns the builder. `build()` checks all of them together.

    A builder may build several systems, one after the other.
    """

    def __init__(self) -> None:
        self._port: int | None = None
        self._media_ports = DEFAULT_MEDIA_PORTS
        self._media_threads: int | None = None
        self._cpu_latency: float | None = None
        self._user = DEFAULT_USER
        self._host: str | None = None
        self._address_port: int | None = None
        self._handler: CallHandler | None = None
        self._max_sessions = 1000
        self._session_timeout: float | None = None
        self._session_timer: tuple[float | None, float] = (None, 90.0)
        self._answer_timeout: float | None = 180.0
        self._transports: list[_Wanted] = []
        # Asked instead of the system's name servers: for tests.
        self._nameserver: tuple[str, int] | None = None
        self._codecs = _ringback.default_codecs()
        self._opus = (DEFAULT_OPUS_BITRATE, DEFAULT_OPUS_COMPLEXITY, True, False)
        self._public_address: str | None = None
        self._stun: _nat.Server | None = None
        self._turn: _nat.Account | None = None
        self._registrar: Registrar | None = None
        self._accounts: list[Account] = []
        self._symmetric_rtp = False
        self._rtcp_mux = False
        self._inband_dtmf: bool | None = False
        self._forwarded_headers: list[str] | None = None
        self._credentials: list[Credentials] = []
        self._authenticator: Authenticator | None = None
        self._limits = Limits()

    def with_sip_port(self, port: int) -> Self:
        """Port to listen on, default 5060; 0: any free port. Overrides the one of `with_local_address`."""
        self._port = _port(port, "port", 0)
        return self

    def with_media_ports(self, low: int, high: int) -> Self:
        """Ports for RTP (even) and RTCP (the odd above), both ends included; default 10000 to 20000.

        When none is left, calls going out raise `ResourceExhausted`, and calls coming in get 503.
        """
        low, high = _port(low, "low", 1), _port(high, "high", 1)
        if low > high:
            raise ValueError(f"low must not be above high: {low} > {high}")
        self._media_ports = (low, high)
        return self

    def with_media_threads(self, count: int | None = None) -> Self:
        """Threads that send and receive audio, 1 to 64. `None`, the default: as many as the CPUs that the process may use allow.

        Calls are spread over them, and move to one thread where they are connected. A thread without calls sleeps.
        """
        self._media_threads = None if count is None else _integer(count, "count", 1, 64)
        return self

    def with_cpu_latency(self, limit: Seconds | None = 0.0) -> Self:
        """How long an idle CPU may take to wake while calls have audio, up to a second; 0: none sleeps. `None`, without this the
        default: as the machine likes.

        A sleeping CPU wakes late, and the packets of that moment with it: some microseconds to a hundred on hardware, on a virtual
        machine milliseconds. It costs power (at 0 idle CPUs spin), so use it on machines that are there for telephony.

        It is said to Linux by /dev/cpu_dma_latency, for the whole machine. That is for root to write unless a udev rule says
        otherwise, and containers have it only when it is given to them: else `build` raises `PermissionError` or `FileNotFoundError`.
        """
        if limit is not None:
            limit = seconds(limit, "limit")
            if limit > 1:
                raise ValueError(f"limit must be 0 to 1 second, not {limit:g}")
        self._cpu_latency = limit
        return self

    def with_local_address(self, uri: str) -> Self:
        """ "sip:pbx@192.168.1.100:5060": the host to bind, and the user of Contact and From. `InvalidUri`.

        Without it: all IPv4 interfaces, and for each call the address that packets to its peer leave by.
        """
        _text(uri, "uri")
        user, host, port = _ringback.sip_uri_parts(uri)
        self._user = user or DEFAULT_USER
        self._host, self._address_port = host, port
        return self

    def with_handler(self, handler: CallHandler) -> Self:
        """What decides about calls; without one every call gets 480."""
        if not isinstance(handler, CallHandler):
            raise TypeError(f"handler must be a CallHandler, not {type(handler).__name__}")
        self._handler = handler
        return self

    def with_max_sessions(self, count: int) -> Self:
        """Most calls at once, default 1,000. One more is 503 + Retry-After coming in, `ResourceExhausted` going out."""
        self._max_sessions = _integer(count, "count", 1, 10_000_000)
        return self

    def with_session_timeout(self, duration: Seconds) -> Self:
        """Longest life of an answered call, then BYE, reason "timeout". Default: none."""
        self._session_timeout = seconds(duration, "duration", zero=False)
        return self

    def with_session_timer(self, expires: Seconds | None, *, min_expires: Seconds = 90) -> Self:
        """Asks that answered calls are refreshed within `expires`, so that one whose peer has vanished ends as "timeout" (RFC 4028).

        Whichever side the two agree on refreshes, by UPDATE or re-INVITE; where the peer knows nothing of it, this one. None, the
        default: only where the peer asks. `min_expires`: a peer that wants shorter intervals is refused with 422. Both are
        whole seconds, 90 at least; else `ValueError`.
        """
        least = seconds(min_expires, "min_expires")
        if least < _SHORTEST_SESSION:
            raise ValueError(f"min_expires must be {_SHORTEST_SESSION} s at least, not {min_expires!r}")
        asked = None if expires is None else seconds(expires, "expires")
        if asked is not None and asked < least:
            raise ValueError(f"expires must be {least:g} s at least, not {expires!r}")
        self._session_timer = (asked, least)
        return self

    def with_answer_timeout(self, duration: Seconds | None) -> Self:
        """A call that is undecided or deferred so long gets 480. Default 180 s; None: it may wait for ever."""
        self._answer_timeout = None if duration is None else seconds(duration, "duration", zero=False)
        return self

    def with_transport(
        self,
        kind: Transport,
        *,
        port: int | None = None,
        host: str | None = None,
        certificate: str | os.PathLike[str] | None = None,
        private_key: str | os.PathLike[str] | None = None,
        ca: str | os.PathLike[str] | None = None,
        verify: bool = True,
    ) -> Self:
        """Listens and connects by this transport; repeatable. The first call replaces the default, UDP and TCP.

        `host` defaults to that of `with_local_address`, `port` to that of `with_sip_port` (or the next ones that no
        other transport has taken); where neither gives one, to the standard's: 5060, TLS 5061, WS 80, WSS 443.

        For TLS and WSS there are PEM files; a file that changes is read again without a restart:

        - `certificate`: ours, followed by the intermediate ones, and its `private_key` (default: in the same file).
          Without it nobody can connect to us, but we can connect to others.
        - `ca`: whose certificates are trusted (default: the operating system's); one that signed itself is trusted where
          it stands there. Clients are asked for a certificate then, and may do without.
        - `verify`: whether a server must show a trusted certificate of the host that is called (RFC 5922), and a
          client that shows one a trusted one.
        """
        try:
            kind = Transport(kind)
        except ValueError:
            raise ValueError(f"no transport {kind!r}; there are {', '.join(Transport)}") from None
        if port is not None:
            _port(port, "port", 0)
        if host is not None:
            _host(host, "host")
        files = [
            _path(path, name) for path, name in ((certificate, "certificate"), (private_key, "private_key"), (ca, "ca"))
        ]
        if not isinstance(verify, bool):
            raise TypeError(f"verify must be a bool, not {type(verify).__name__}")
        if kind not in (Transport.TLS, Transport.WSS) and any(path is not None for path in files):
            raise ValueError(f"certificate, private_key and ca are for TLS and WSS, not for {kind.name}")
        if private_key is not None and certificate is None:
            raise ValueError("private_key needs the certificate that it belongs to")
        self._transports.append(_Wanted(kind, host, port, (files[0], files[1], files[2], verify)))
        return self

    def with_codecs(self, *names: str) -> Self:
        """Codecs by preference, default "opus", "G722", "PCMU", "PCMA". Names have no case.

        There is linear audio (RFC 3551 L16) too, at four rates: "L16/8000", "L16" or "L16/16000", "L16/24000", "L16/48000"; not at
        44,100 Hz.

        telephone-event is always offered, at the clock rate of each codec (RFC 4733). Raises `ValueError` for a name that is not known
        or comes twice.
        """
        available = {name.lower(): name for name in _ringback.available_codecs()}
        available["l16/16000"] = available["l16"]
        chosen: list[str] = []
        for name in names:
            known = available.get(_text(name, "a codec name").lower())
            if known is None:
                raise ValueError(f"no codec {name!r}; there are {', '.join(dict.fromkeys(available.values()))}")
            if known in chosen:
                raise ValueError(f"codec {known} is named twice")
            chosen.append(known)
        if not chosen:
            raise ValueError(f"no codec is named; there are {', '.join(dict.fromkeys(available.values()))}")
        self._codecs = chosen
        return self

    def with_opus(
        self,
        *,
        bitrate: int = DEFAULT_OPUS_BITRATE,
        complexity: int = DEFAULT_OPUS_COMPLEXITY,
        fec: bool = True,
        dtx: bool = False,
    ) -> Self:
        """How Opus is sent: `bitrate` in bits a second, 6,000 to 510,000, and less where the peer wants less (RFC 7587
        maxaveragebitrate); `complexity` 0 (least CPU time) to 10. Default 32,000 and 5.

        `fec`: packets carry a copy of what was before them, as good as the loss that the peer reports asks for, where the peer makes
        use of it (useinbandfec). What comes is used always. `dtx`: in silence a packet is sent each 400 ms instead of each 20; peers
        are asked for the same (usedtx); a peer that asks for it gets it anyway. Opus may take a tone that lasts for silence.

        Raises `ValueError` for values out of these ranges.
        """
        if not isinstance(bitrate, int) or not 6_000 <= bitrate <= 510_000:
            raise ValueError(f"bitrate must be 6000 to 510000 bits a second, not {bitrate!r}")
        if not isinstance(complexity, int) or not 0 <= complexity <= 10:
            raise ValueError(f"complexity must be 0 to 10, not {complexity!r}")
        for name, value in (("fec", fec), ("dtx", dtx)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
        self._opus = (bitrate, complexity, fec, dtx)
        return self

    def with_public_address(self, host: str) -> Self:
        """What SDP and Contact say instead of the local address: behind static NAT, with media ports that are the same outside.

        Media that a TURN server relays is said to be there all the same.
        """
        _host(host, "host")
        self._public_address = host.strip("[]")
        return self

    def with_stun_server(self, address: str) -> Self:
        """ "host:port" (3478 where the port is left out) of a STUN server (RFC 8489) that is asked where others reach each call's
        media: behind a NAT that keeps a socket's port whoever it sends to. SDP says what it answers. `ValueError`.

        It is asked once a call from the call's own RTP and RTCP sockets, before the INVITE goes out or the program is told of one
        that came in: one round trip. A server that does not answer within a second, or refuses, fails no call: SDP says the local
        address, the log says so once, and the server is tried again every 30 seconds. A name is looked up by `build()`, once. The
        mapping is kept alive as long as the call lasts, on hold too (RFC 6263).

        The SIP socket, where there is one for UDP, is asked about as well, at the start and then every 24 to 29 seconds: Contact
        says what the server answers to peers with a public address, so that they find it within a dialog, and the local address to
        those with a private one, which are on our side of the NAT. An account whose registrar fills in `rport` (RFC 3581) is told
        what that one sees. Responses find back by `rport` in any case. A registration waits a second for the server, at most.

        An address of `with_public_address` counts instead: then no STUN server is asked.
        """
        self._stun = _nat.server("STUN", address)
        return self

    def with_turn_server(self, address: str, *, username: str, password: str) -> Self:
        """ "host:port" (3478 where the port is left out) of a TURN server (RFC 8656) by which each call's media is relayed, in both
        directions: behind a NAT that gives each peer another port, or a firewall. `ValueError`.

        RTP and RTCP of a call have an allocation each, over UDP, with the long-term credentials given here; SDP says their
        addresses. Both are refreshed while the call lasts and given back at its end. Only the address that the peer's SDP names
        (with `with_symmetric_rtp`, the host) gets through the relay. Where the server does not answer or refuses, the call goes on
        without: by the address that a STUN server says, where there is one, else directly; the log says why, once, and the server
        is tried again every 30 seconds. A call waits at most 3 seconds for its allocations. A name is looked up by `build()`, once.
        """
        self._turn = _nat.account(address, username, password)
        return self

    def with_symmetric_rtp(self, allowed: bool = True) -> Self:
        """Sends media back to where the peer's really comes from, whatever its SDP says: for peers behind NAT (RFC 4961).

        The source is learned once, from consecutive packets in a short window, and locked; after a re-offer it is learned
        anew, and where it falls silent it may come back from another port. The negotiated address is believed before any
        other, then the host of it and the one that signalling comes from. A third host (a media relay, say) is the last resort:
        only where those two differ, for else there is no NAT or proxy between, where no source was known before under the same
        description, and after 2 seconds without a packet of any of them. It is never locked, and makes way for them at any
        time. Without this, only packets from the negotiated address are accepted.

        A peer that says `a=direction:active` in its SDP ("comedia": it sends first, its address is of no use) is treated so
        in any case, and gets nothing before its source is learned.
        """
        self._symmetric_rtp = _flag(allowed, "allowed")
        return self

    def with_rtcp_mux(self, offered: bool = True) -> Self:
        """Offers to send and receive RTCP by the port of RTP (RFC 5761, `a=rtcp-mux`). Where a peer does not take it up, and
        without this, RTCP has the port above. An offer of it by the peer is always accepted.
        """
        self._rtcp_mux = _flag(offered, "offered")
        return self

    def with_inband_dtmf(self, detect: bool | None = None) -> Self:
        """Looks for digits as tones in received audio (ITU-T Q.23, Q.24): always, never (False, the default of a system),
        or, with None, in calls where telephone-event (RFC 4733) was not negotiated.

        They reach `on_dtmf` and `MediaControl.collect_dtmf` like all others. A peer that sends telephone-events is not
        listened to, so that no digit counts twice.
        """
        self._inband_dtmf = None if detect is None else _flag(detect, "detect")
        return self

    def with_forwarded_headers(self, *names: str) -> Self:
        """Headers of a caller that the targets of a forwarded call see; without names none.

        Default: Subject, Priority, Organization, Accept-Language, Privacy, User-to-User, Diversion, History-Info. Those that the
        engine writes itself (Via, Contact, ...) raise `InvalidHeader`. P-Asserted-Identity is a claim that only a trusted network may
        make (RFC 3325): name it where every caller is one.
        """
        self._forwarded_headers = [_ringback.forwardable_header(_text(name, "a header name")) for name in names]
        return self

    def with_credentials(self, *credentials: Credentials) -> Self:
        """Answers to 401 and 407 for every request, chosen by realm; repeatable."""
        for one in credentials:
            if not isinstance(one, Credentials):
                raise TypeError(f"credentials must be Credentials, not {type(one).__name__}")
        self._credentials.extend(credentials)
        return self

    def with_authenticator(self, authenticator: Authenticator) -> Self:
        """Whom to let in; without one everybody is."""
        if not isinstance(authenticator, Authenticator):
            raise TypeError(f"authenticator must be an Authenticator, not {type(authenticator).__name__}")
        self._authenticator = authenticator
        return self

    def with_limits(self, limits: Limits) -> Self:
        """What peers may make the system keep and do."""
        if not isinstance(limits, Limits):
            raise TypeError(f"limits must be a Limits, not {type(limits).__name__}")
        self._limits = limits
        return self

    def with_account(self, account: Account) -> Self:
        """An account that is registered on start and unregistered on stop; repeatable."""
        if not isinstance(account, Account):
            raise TypeError(f"account must be an Account, not {type(account).__name__}")
        self._accounts.append(account)
        return self

    def with_registrar(self, registrar: Registrar) -> Self:
        """Lets telephones register, and calls to their addresses of record ring them."""
        if not isinstance(registrar, Registrar):
            raise TypeError(f"registrar must be a Registrar, not {type(registrar).__name__}")
        self._registrar = registrar
        return self

    async def build(self) -> SessionCoordinator:
        """Checks all settings together, binds the ports, and gives a coordinator that does not run yet.

        Raises `BindError` ("Failed to bind SIP port 5060: ...", or a TLS file that cannot be read), `ValueError` (settings
        that contradict each other, a TLS file with something else in it), `OSError` (`with_cpu_latency`, a registrar's file).
        """
        low, high = self._media_ports
        if low + low % 2 + 1 > high:
            raise ValueError(f"media ports {low} to {high} hold no even port with the odd one above it")
        listen = await self._listen()
        hosts = {host for _, host, _, _ in listen}
        families: set[int] = {ipaddress.ip_address(host).version for host in hosts}
        stun = self._stun if self._public_address is None else None
        turn = self._turn
        handler = self._handler
        methods = {} if handler is None else _methods(handler)
        authenticator = None
        if self._authenticator is not None:
            authenticator = self._authenticator._settings()
            if authenticator[1] is None:
                methods["password"] = (self._authenticator._answer, True)
        path = None if self._registrar is None else self._registrar._path()
        bind = functools.partial(
            _ringback.bind,
            listen=[(kind.value, host, port, tls) for kind, host, port, tls in listen],
            media_ports=self._media_ports,
            media_threads=self._media_threads,
            cpu_latency=self._cpu_latency,
            user=self._user,
            public_address=self._public_address,
            # Several addresses: each call's is that which its peer is reached from.
            media_address=hosts.pop() if self._host is not None and len(hosts) == 1 else None,
            codecs=self._codecs,
            opus=self._opus,
            max_sessions=self._max_sessions,
            symmetric_rtp=self._symmetric_rtp,
            rtcp_mux=self._rtcp_mux,
            inband_dtmf=self._inband_dtmf,
            forwarded_headers=self._forwarded_headers,
            credentials=[(one.username, one.password, one.realm) for one in self._credentials],
            authenticator=authenticator,
            limits=self._limits,
            shut_out=seconds(self._limits.shut_out, "shut_out"),
            session_timeout=self._session_timeout,
            session_timer=self._session_timer,
            answer_timeout=self._answer_timeout,
            origin=_origin(handler, methods),
            nameserver=self._nameserver,
            stun=None if stun is None else await stun.locate(families),
            turn=None if turn is None else (*await turn.server.locate(families), turn.username, turn.password),
            interest=[name for name in methods if name not in ("on_incoming_call", "on_error", "password")],
            registrar=None if self._registrar is None else self._registrar._settings(),
            binding_store=path,
        )
        # A file of bindings may be on a slow disk, and another process may hold it for a while.
        binding = bind() if path is None else await _lifecycle.in_thread(bind)
        coordinator = SessionCoordinator(binding, methods, self._dial_uri(binding))
        coordinator._handler = handler
        coordinator._accounts = tuple(self._accounts)
        if self._registrar is not None:
            coordinator._registrar = self._registrar
            coordinator._reads_file = self._registrar._path() is not None
            self._registrar._serve(coordinator)
        return coordinator

    async def _listen(self) -> list[tuple[Transport, str, int, _TlsFiles]]:
        """The sockets to bind, with host names looked up."""
        default = self._port if self._port is not None else self._address_port
        unencrypted = (None, None, None, True)
        wanted = self._transports or [
            _Wanted(Transport.UDP, None, None, unencrypted),
            _Wanted(Transport.TCP, None, None, unencrypted),
        ]
        listen: list[tuple[Transport, str, int, _TlsFiles]] = []
        for kind, own_host, own_port, tls in wanted:
            port = own_port if own_port is not None else _STANDARD_PORTS[kind] if default is None else default
            host = await _resolve(own_host or self._host or "0.0.0.0", port)
            if own_port is None and port != 0:
                # All but UDP share the ports of TCP.
                while kind != Transport.UDP and any(
                    other not in (Transport.UDP, kind) and (at, taken) == (host, port) for other, at, taken, _ in listen
                ):
                    port += 1
            if port != 0 and any((kind, host, port) == other[:3] for other in listen):
                raise ValueError(f"{kind.name} {host}:{port} is named twice")
            listen.append((kind, host, port, tls))
        return listen

    def _dial_uri(self, binding: _ringback.Binding) -> str:
        transport, host, port = binding.addresses()[0]
        if any(kind == Transport.UDP for kind, _, _ in binding.addresses()):
            transport, host, port = next(address for address in binding.addresses() if address[0] == Transport.UDP)
        if ipaddress.ip_address(host).is_unspecified:
            host = _own_address(ipaddress.ip_address(host).version)
        return _ringback.sip_uri(self._user, host, port, transport)


def _methods(handler: CallHandler) -> dict[str, tuple[Callable[..., object], bool]]:
    """The methods of `handler` that do anything, bound, and whether each is `async def`."""
    methods: dict[str, tuple[Callable[..., object], bool]] = {}
    for name in METHODS:
        if name == "on_error" or handler._listens(name):
            method: Callable[..., object] = getattr(handler, name)
            methods[name] = (method, inspect.iscoroutinefunction(method))
    return methods


def _origin(handler: CallHandler | None, methods: dict[str, tuple[Callable[..., object], bool]]) -> str:
    if handler is None or "on_incoming_call" not in methods:
        return "none"
    method = methods["on_incoming_call"][0]
    answers = getattr(method, "__func__", method) is AutoAnswerHandler.on_incoming_call
    return "accept" if answers else "ask"


async def _resolve(host: str, port: int) -> str:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise BindError(
            f"Failed to bind SIP port {port}: no address for {host!r}: {error}", errno=error.errno
        ) from error
    # IPv4 first: what most peers can reach.
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return str(found[0][4][0])


def _own_address(version: int) -> str:
    """The address that packets to the rest of the world leave by, or loopback where there is no such way. Sends
    nothing.
    """
    family, far, loopback = (
        (socket.AF_INET, "192.0.2.1", "127.0.0.1") if version == 4 else (socket.AF_INET6, "2001:db8::1", "::1")
    )
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return loopback


def _integer(value: int, name: str, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be {least} to {most}, not {value}")
    return value


def _flag(value: bool, name: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be a bool, not {type(value).__name__}")
    return value


def _port(value: int, name: str, least: int) -> int:
    return _integer(value, name, least, 65_535)


def _text(value: str, name: str) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {type(value).__name__}")
    return value


def _path(value: str | os.PathLike[str] | None, name: str) -> str | None:
    if value is None:
        return None
    path = _text(os.fspath(value) if isinstance(value, os.PathLike) else value, name)
    if not path:
        raise ValueError(f"{name} is empty")
    return path


def _host(value: str, name: str) -> str:
    """A host as a URI has it; `InvalidUri` (a `ValueError`) for anything else."""
    text = _text(value, name).strip("[]")
    _ringback.sip_uri_parts(f"sip:[{text}]" if ":" in text else f"sip:{text}")
    return text
