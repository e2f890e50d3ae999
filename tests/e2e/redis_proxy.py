"""Stands between a service and Redis and misbehaves on demand: slow, erroneous, cut off in the middle of an answer, mute.

In: the port of Redis; modes, one JSON line each on standard input. Out: a port, RESP2 as Redis speaks it. Keeps: a connection's
answers stay in the order of its commands, whatever becomes of them. A process of its own: it must not wait for the tests' Python.
"""

import asyncio
import json
import random
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

from stack import bound

ERRORS = ["ERR something is wrong", "LOADING Redis is loading the dataset in memory", "MOVED 3999 127.0.0.1:1", "OOM command not allowed"]


class Proxy:
    """The test's side."""

    def __init__(self, port, redis_port):
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/"
        command = [sys.executable, str(Path(__file__).resolve()), str(port), str(redis_port)]
        self.process = subprocess.Popen(bound(command, "KILL"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        assert line, "the proxy ended"
        return json.loads(line)

    def set(self, **mode):
        """delay: seconds; errors: share of commands answered by an error; cut: share of answers broken off; hold: commands
        wait until it is over; refuse: no connection at all. Returns how many commands, errors and cuts there were."""
        self.process.stdin.write(json.dumps(mode) + "\n")
        self.process.stdin.flush()
        return self._answer()

    @contextmanager
    def being(self, **mode):
        self.set(**mode)
        try:
            yield
        finally:
            self.set()

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


async def read_command(reader):
    """One command as it came. Clients send arrays of bulk strings and nothing else."""
    head = await reader.readuntil(b"\r\n")
    parts = [head]
    for _ in range(int(head[1:]) if head[:1] == b"*" else 0):
        parts += await read_bulk(reader)
    return b"".join(parts)


async def read_bulk(reader):
    head = await reader.readuntil(b"\r\n")
    length = int(head[1:])
    return [head] if length < 0 else [head, await reader.readexactly(length + 2)]


async def read_answer(reader):
    head = await reader.readuntil(b"\r\n")
    if head[:1] == b"$":
        length = int(head[1:])
        return head if length < 0 else head + await reader.readexactly(length + 2)
    if head[:1] == b"*":
        return head + b"".join([await read_answer(reader) for _ in range(int(head[1:]))])
    return head


class Server:
    """The process' side."""

    def __init__(self, redis_port):
        self.redis_port = redis_port
        self.mode = {}
        self.counts = {"commands": 0, "errors": 0, "cuts": 0, "refused": 0}

    async def client(self, reader, writer):
        if self.mode.get("refuse"):
            self.counts["refused"] += 1
            writer.transport.abort()
            return
        try:
            redis_reader, redis_writer = await asyncio.open_connection("127.0.0.1", self.redis_port, limit=1 << 26)
        except OSError:
            writer.transport.abort()
            return
        commands, answers = asyncio.Queue(), asyncio.Queue()
        tasks = [
            asyncio.create_task(self.read(reader, commands)),
            asyncio.create_task(self.forward(commands, redis_writer, answers)),
            asyncio.create_task(self.answer(answers, redis_reader, writer)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            # what the tasks say of a connection that is gone
            await asyncio.gather(*tasks, return_exceptions=True)
            writer.transport.abort()
            redis_writer.transport.abort()

    async def read(self, reader, commands):
        loop = asyncio.get_running_loop()
        try:
            while True:
                command = await read_command(reader)
                await commands.put((loop.time(), command))
        except asyncio.IncompleteReadError:
            # what was sent before the end is still on its way to Redis, as in a network
            while not commands.empty() and (self.mode.get("hold") or self.mode.get("delay")):
                await asyncio.sleep(0.01)

    async def forward(self, commands, redis_writer, answers):
        """Half of the delay lies in front of Redis, half behind it."""
        while True:
            came, command = await commands.get()
            self.counts["commands"] += 1
            while self.mode.get("hold"):
                await asyncio.sleep(0.01)
            await self.until(came + self.mode.get("delay", 0.0) / 2)
            if random.random() < self.mode.get("errors", 0.0):
                self.counts["errors"] += 1
                await answers.put((came, f"-{random.choice(ERRORS)}\r\n".encode()))
                continue
            redis_writer.write(command)
            await redis_writer.drain()
            await answers.put((came, None))

    async def answer(self, answers, redis_reader, writer):
        while True:
            came, text = await answers.get()
            if text is None:
                text = await read_answer(redis_reader)
            await self.until(came + self.mode.get("delay", 0.0))
            if random.random() < self.mode.get("cut", 0.0):
                self.counts["cuts"] += 1
                writer.write(text[: random.randrange(len(text))])
                await writer.drain()
                return
            writer.write(text)
            await writer.drain()

    async def until(self, due):
        left = due - asyncio.get_running_loop().time()
        if left > 0:
            await asyncio.sleep(left)


async def main(port, redis_port):
    server = Server(redis_port)
    await asyncio.start_server(server.client, "127.0.0.1", port, limit=1 << 26)
    loop = asyncio.get_running_loop()
    print(json.dumps(server.counts), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        server.mode = json.loads(line)
        print(json.dumps(server.counts), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
