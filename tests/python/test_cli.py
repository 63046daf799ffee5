"""The command line, as a program of its own."""

import asyncio
import errno
import re
import signal
import socket
import sys

import pytest

import ringback


async def run(*arguments: str, until: str | None = None) -> tuple[int | None, str]:
    """Exit status and output; with `until` it is interrupted once it has printed that."""
    command = (sys.executable, "-P", "-m", "ringback", *arguments)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    printed = ""
    async with asyncio.timeout(40):
        assert process.stdout is not None
        while block := await process.stdout.read(4096):
            printed += block.decode()
            if until is not None and until in printed:
                process.send_signal(signal.SIGINT)
                until = None
        return await process.wait(), printed


async def test_it_says_what_there_is_and_which_version():
    assert (await run("--version")) == (0, f"ringback {ringback.__version__}\n")
    status, printed = await run("--help")
    assert status == 0 and "demo" in printed
    status, printed = await run("bogus")
    assert status == 2 and "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "COMMAND"),
        (("demo", "--port", "65536"), "--port: not a port, 0 to 65535: '65536'"),
        (("demo", "--port", "-1"), "--port: not a port, 0 to 65535: '-1'"),
        (("demo", "--port", "sip"), "--port: not a port, 0 to 65535: 'sip'"),
        (("demo", "--host", ""), "--host: an address or a name is expected"),
        (("demo", "--twice"), "--twice"),
    ],
)
async def test_what_is_called_wrongly_is_told_in_a_line(arguments, said):
    status, printed = await run(*arguments)
    assert status == 2 and said in printed.splitlines()[-1] and "Traceback" not in printed, printed


async def once_free(taken: socket.socket, address: tuple[str, int]) -> None:
    """Bind `taken`: where ephemeral ports go up to the last, somebody may have that one for a moment."""
    while True:
        try:
            return taken.bind(address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
        await asyncio.sleep(0.05)


async def test_the_last_port_of_all_may_be_taken():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        async with asyncio.timeout(10):
            await once_free(taken, ("127.0.0.1", 65_535))
        status, printed = await run("demo", "--once", "--port", "65535")
    assert status == 1 and "Failed to bind SIP port 65535" in printed, printed


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "localhost"])
async def test_the_demonstration_hears_itself(host):
    status, printed = await run("demo", "--once", "--host", host, "--port", "0")
    assert status == 0, printed
    assert "Sound arrived, both ways." in printed and "440.0 Hz" in printed
    assert re.search(r"INVITE(?s:.*)200 OK(?s:.*)ACK(?s:.*)BYE", printed)
    listening = re.search(r"PBX listening on sip:pbx@(\S+):\d+ ", printed)
    assert listening is not None and "0.0.0.0" not in listening[1]


async def test_it_waits_for_telephones_until_it_is_interrupted():
    status, printed = await run("demo", "--port", "0", until="Waiting for calls")
    assert status == 0, printed
    assert "400@127.0.0.1" in printed and "Bye." in printed and "Traceback" not in printed


async def test_a_host_that_is_none_is_told_once():
    for host in ("nohost.invalid", "203.0.113.9", "not a host"):
        status, printed = await run("demo", "--once", "--host", host)
        assert status == 1 and len(printed.splitlines()) == 1 and "Traceback" not in printed, printed
