"""A health endpoint beside the telephone system, for a load balancer or a container's probe: 200 while it takes calls, 503 otherwise.

python health_check.py [--http 8080]
python health_check.py --self-test
"""

import argparse
import asyncio
import json

from ringback import AutoAnswerHandler, SessionControl, SessionCoordinator, SessionManagerBuilder


async def health(coordinator: SessionCoordinator) -> tuple[int, dict[str, object]]:
    stats = await SessionControl.get_stats(coordinator)
    running = coordinator.is_running()
    body: dict[str, object] = {
        "running": running,
        "uptime_seconds": round(coordinator.uptime(), 3),
        "active_calls": stats.active_sessions,
        "total_calls": stats.total_sessions,
        "failed_calls": stats.failed_sessions,
    }
    return (200 if running else 503), body


async def serve_health(coordinator: SessionCoordinator, port: int) -> asyncio.Server:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        status, body = await health(coordinator)
        text = json.dumps(body).encode()
        writer.write(b"HTTP/1.0 %d %s\r\n" % (status, b"OK" if status == 200 else b"Service Unavailable"))
        writer.write(b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(text) + text)
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", port)


async def main(port: int) -> None:
    async with await SessionManagerBuilder().with_handler(AutoAnswerHandler()).build() as coordinator:
        server = await serve_health(coordinator, port)
        print(f"Calls: {coordinator.local_address}; health: port {port}; Ctrl-C ends.")
        async with server:
            await server.serve_forever()


async def self_test() -> None:
    builder = (
        SessionManagerBuilder()
        .with_local_address("sip:pbx@127.0.0.1")
        .with_sip_port(0)
        .with_handler(AutoAnswerHandler())
    )
    coordinator = await builder.build()
    server = await serve_health(coordinator, 0)
    port: int = server.sockets[0].getsockname()[1]

    async def ask() -> tuple[int, dict[str, object]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(body)

    async with server:
        assert (await ask())[0] == 503, "not started yet"
        async with coordinator:
            call = await SessionControl.create_outgoing_call(
                coordinator, coordinator.local_address, coordinator.local_address
            )
            await call.wait_for_answer(5)
            status, body = await ask()
            assert (status, body["active_calls"]) == (200, 2), body  # both legs of a call to itself
        assert (await ask())[0] == 503, "stopped"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http", type=int, default=8080, metavar="PORT")
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    try:
        asyncio.run(self_test() if options.self_test else main(options.http))
    except KeyboardInterrupt:
        print("Bye.")
