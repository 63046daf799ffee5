"""The command line. `ringback demo` is the one command so far; the look comes from `rich`, which the extra `cli` brings."""

import argparse
import sys
from collections.abc import Sequence

from ringback import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit status: 0 done, 1 failed, 2 called wrongly."""
    parser = argparse.ArgumentParser(prog="ringback", description="Telephone systems in Python.")
    parser.add_argument("--version", action="version", version=f"ringback {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    demo = commands.add_parser(
        "demo",
        help="a PBX that calls itself, then waits for your phone",
        description="Starts a PBX, calls it, shows what happened, then waits for calls from any SIP phone. Ctrl-C ends it.",
    )
    demo.add_argument(
        "--host",
        type=_host,
        default="127.0.0.1",
        help="address to listen on (default: %(default)s; 0.0.0.0 opens it to the network)",
    )
    demo.add_argument(
        "--port",
        type=_port,
        default=5060,
        help="SIP port (default: %(default)s, the next free one where it is taken; 0: any)",
    )
    demo.add_argument("--once", action="store_true", help="leave after the call to itself")
    options = parser.parse_args(arguments)
    try:
        from ringback.cli.demo import run
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] != "rich":
            raise
        print("ringback: the command line needs rich: pip install 'ringback[cli]'", file=sys.stderr)
        return 1
    return run(options.host, options.port, once=options.once)


def _host(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("an address or a name is expected")
    return text


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"not a port, 0 to 65535: {text!r}")
    return int(text)
