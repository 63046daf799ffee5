"""Runs Kamailio as a registrar and record-routing proxy on loopback; its users' names are their passwords."""

import asyncio
import contextlib
import glob
import shutil
import tempfile
from pathlib import Path

from leash import leashed
from network import HOST, free_ports
from systems import until

# Debian has its TLS in a package of its own.
TLS_HERE = bool(glob.glob("/usr/lib/*/kamailio/modules/tls.so"))

CONFIG = """\
#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=2
disable_tcp=no
auto_aliases=no
dns=off
rev_dns=off
server_header="Server: kamailio"
listen=udp:{host}:{port}
listen=tcp:{host}:{port}
alias="{host}:{port}"
{secure}
{modules}
modparam("rr", "enable_full_lr", 1)
modparam("auth", "nonce_count", 1)
modparam("auth", "qop", "auth")
modparam("usrloc", "db_mode", 0)
modparam("registrar", "use_path", 1)
modparam("registrar", "path_mode", 0)

request_route {{
    if (!mf_process_maxfwd_header("10")) {{
        sl_send_reply("483", "Too Many Hops");
        exit;
    }}
    if (has_totag()) {{
        if (loose_route()) {{
            xlog("L_NOTICE", "$rm along the route, by $proto, to $du$rP\\n");
            t_relay();
        }} else if (is_method("ACK")) {{
            if (t_check_trans()) t_relay();
        }} else {{
            sl_send_reply("404", "Not Here");
        }}
        exit;
    }}
    if (is_method("CANCEL")) {{
        if (t_check_trans()) t_relay();
        exit;
    }}
    t_check_trans();
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{realm}", "$au", "0")) {{
            www_challenge("{realm}", "1");
            exit;
        }}
        if ($au != $tU) {{
            sl_send_reply("403", "Forbidden");
            exit;
        }}
        {outbound}
        save("location");
        exit;
    }}
    if (is_method("INVITE") && $fU == "member") {{
        if (!pv_proxy_authenticate("{realm}", "$au", "0")) {{
            proxy_challenge("{realm}", "1");
            exit;
        }}
        consume_credentials();
    }}
    remove_hf("Route");
    if (is_method("INVITE|SUBSCRIBE")) record_route();
    if (!lookup("location")) {{
        sl_send_reply("404", "Not Found");
        exit;
    }}
    t_relay();
}}
"""
MODULES = "kex tm tmx sl rr pv maxfwd usrloc registrar textops siputils auth xlog".split()

# Debian's has no outbound module. This stands for it (RFC 5626 §6): the contact is a flow, and its keep-alives are answered.
OUTBOUND = 'append_to_reply("Require: outbound\\r\\nFlow-Timer: 2\\r\\n");'

SECURE = """\
enable_tls=yes
listen=tls:{host}:{port}
alias="{host}:{port}"
loadmodule "tls.so"
modparam("tls", "config", "{folder}/tls.cfg")
"""
# Both ways, whoever connects: the peer has to show a certificate of the same authority.
TLS_CONFIG = """\
[server:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
certificate = {certificate}
private_key = {certificate}
ca_list = {root}
[client:default]
method = TLSv1.2+
verify_certificate = yes
require_certificate = yes
certificate = {certificate}
private_key = {certificate}
ca_list = {root}
"""


class Kamailio:
    """`async with Kamailio() as proxy`. A caller whose From says `member` has to authenticate itself (407).

    `stun`: it has every contact be a flow, and answers Binding requests on its SIP port.
    `certificate`, with its key, and `root`, the authority's: PEM files; with them it speaks TLS too, on the port above the other.
    """

    REALM = "kamailio.example"

    def __init__(self, *, certificate: str | None = None, root: str | None = None, stun: bool = False) -> None:
        self.port = free_ports(2)
        self._stun = stun
        self._certificate, self._root = certificate, root

    def uri(self, user: str, transport: str = "udp") -> str:
        suffix = "" if transport == "udp" else f";transport={transport}"
        return f"sip:{user}@{HOST}:{self.port + (transport == 'tls')}{suffix}"

    @property
    def registrar(self) -> str:
        return f"sip:{HOST}:{self.port}"

    async def __aenter__(self) -> "Kamailio":
        self.folder = Path(tempfile.mkdtemp(prefix="kamailio-"))
        modules = "\n".join(f'loadmodule "{name}.so"' for name in [*MODULES, *(["stun"] if self._stun else [])])
        secure = ""
        if self._certificate is not None:
            secure = SECURE.format(host=HOST, port=self.port + 1, folder=self.folder)
            settings = TLS_CONFIG.format(certificate=self._certificate, root=self._root)
            (self.folder / "tls.cfg").write_text(settings)
        outbound = OUTBOUND if self._stun else ""
        config = CONFIG.format(
            host=HOST, port=self.port, realm=self.REALM, modules=modules, secure=secure, outbound=outbound
        )
        (self.folder / "kamailio.cfg").write_text(config)
        with (self.folder / "log").open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *leashed(
                    "kamailio", "-DD", "-f", str(self.folder / "kamailio.cfg"), "-Y", str(self.folder), "-w", str(self.folder),
                    "-m", "32", "-M", "8",
                ),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        try:
            await self._listening()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def _listening(self) -> None:
        async with asyncio.timeout(20):
            while True:
                assert self.process.returncode is None, "Kamailio did not start:\n" + self.log()
                try:
                    _, writer = await asyncio.open_connection(HOST, self.port)
                except OSError:
                    await asyncio.sleep(0.05)
                    continue
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")

    async def until_logged(self, text: str) -> None:
        await until(lambda: text in self.log(), what=f"{text!r} in Kamailio's log")

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.terminate()
            try:
                await asyncio.wait_for(self.process.wait(), 10)
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
