"""A private Kafka, PostgreSQL and Redis for tests, and the services that use them.

In: the scripts of deploy/local and the built programs. Out: addresses, faults on demand, logs. Keeps: each stack has ports and
a folder of its own, nothing of it outlives the test process, and a warning that no test expected is a failure.
Start stacks and services from the main thread: the kernel ties their life to the thread that made them.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

REPO = Path(__file__).resolve().parents[2]
LOCAL = REPO / "deploy" / "local"
PROGRAMS = Path(os.environ.get("TIDEWATCH_TEST_PROGRAMS", REPO / "target" / "release"))
PARTS = ("kafka", "postgres", "redis")
T = TypeVar("T")


def wait_until(condition: Callable[[], T], deadline: float = 30.0, what: str = "the condition", every: float = 0.1) -> T:
    """What `condition` gives as soon as it is truthy. An exception counts as not yet, and is told if time runs out."""
    end = time.monotonic() + deadline
    last: Exception | None = None
    while True:
        try:
            last = None
            if value := condition():
                return value
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a half-started service answers
            last = error
        if time.monotonic() >= end:
            raise TimeoutError(f"{what} did not come true within {deadline:g} s" + (f": {last!r}" if last else ""))
        time.sleep(every)


def free_ports(count: int) -> list[int]:
    """Consecutive ports that nobody listens on, below the range the kernel takes outgoing ports from.

    A port of that range would not do: while a part is stopped its clients could be given the very port they call.
    """
    low, high = (int(bound) for bound in os.environ.get("TIDEWATCH_TEST_PORTS", "20000-32000").split("-"))
    for _ in range(200):
        first = random.randrange(low, high - count)
        sockets = []
        try:
            for port in range(first, first + count):
                listener = socket.socket()
                sockets.append(listener)
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind(("127.0.0.1", port))
            return list(range(first, first + count))
        except OSError:
            continue
        finally:
            for listener in sockets:
                listener.close()
    raise RuntimeError(f"no {count} free ports between {low} and {high}")


def bound(command: list[str], farewell: str) -> list[str]:
    """The command, sent `farewell` by the kernel when this thread is gone."""
    return ["setpriv", "--pdeathsig", farewell, "--", *command]


class Service:
    """One process of ours. Its standard error is JSON lines, kept in one file over restarts."""

    def __init__(self, name: str, command: list[str], env: dict[str, str], log: Path):
        self.name, self.command, self.env, self.log = name, command, env, log
        self.out = log.with_suffix(".out")
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> Service:
        assert not self.alive, f"{self.name} runs already"
        with self.log.open("ab") as log, self.out.open("wb") as out:
            self.process = subprocess.Popen(
                bound(self.command, "KILL"), env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=log, start_new_session=True
            )
        return self

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def signal(self, number: int) -> None:
        """E.g. SIGSTOP and SIGCONT, for a service that hangs."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9: no chance to say goodbye."""
        if self.alive:
            self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait(10)

    def stop(self, within: float = 20.0) -> int:
        """SIGTERM, and its exit status; a service that does not drain in time is a failure."""
        assert self.process is not None
        if self.alive:
            self.signal(signal.SIGTERM)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not end within {within:g} s of SIGTERM") from None

    def restart(self) -> Service:
        self.stop()
        return self.start()

    def lines(self) -> list[dict]:
        """Its log; a line that is not JSON counts as an ERROR: only a panic or a stray print writes one."""
        found = []
        for number, line in enumerate(self.log.read_text(errors="replace").splitlines(), 1):
            try:
                entry = json.loads(line)
                assert isinstance(entry, dict)
            except (ValueError, AssertionError):
                # killed in the middle of a line
                entry = {"level": "ERROR", "message": line} if line.strip() else {"level": "DEBUG", "message": ""}
            entry["line"] = number
            found.append(entry)
        return found

    def wait_log(self, pattern: str, deadline: float = 30.0) -> dict:
        wanted = re.compile(pattern)

        def found() -> dict | None:
            for entry in self.lines():
                if wanted.search(text_of(entry)):
                    return entry
            assert self.alive, f"{self.name} ended while waiting for {pattern!r}: {self.tail()}"
            return None

        return wait_until(found, deadline, f"{pattern!r} in the log of {self.name}")

    def wait_out(self, pattern: str, deadline: float = 60.0) -> re.Match[str]:
        """The first match on standard output."""

        def found() -> re.Match[str] | None:
            match = re.search(pattern, self.out.read_text(errors="replace"), re.MULTILINE)
            assert match or self.alive, f"{self.name} ended while waiting for {pattern!r}: {self.tail()}"
            return match

        return wait_until(found, deadline, f"{pattern!r} on the output of {self.name}")

    def tail(self, count: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-count:])


def text_of(entry: dict) -> str:
    return json.dumps(entry, ensure_ascii=False, default=str)


class Stack:
    """Kafka, PostgreSQL and Redis of one test, by the scripts that `make up` uses."""

    def __init__(self, parts: Iterable[str] = PARTS, directory: str | Path | None = None):
        self.parts = tuple(parts)
        self.owned = directory is None
        self.directory = Path(directory or tempfile.mkdtemp(prefix="tidewatch-test-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        # PostgreSQL, which never runs as root, has to walk through.
        self.directory.chmod(0o755)
        kafka, controller, postgres, redis, web = self.ports = free_ports(5)
        self.kafka = f"127.0.0.1:{kafka}"
        self.redis_url = f"redis://127.0.0.1:{redis}/"
        self.web = f"127.0.0.1:{web}"
        self.script_env = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWATCH_")} | {
            "TIDEWATCH_STATE": str(self.directory),
            "TIDEWATCH_TOOLS": os.environ.get("TIDEWATCH_TOOLS", str(REPO / ".tidewatch" / "tools")),
            "TIDEWATCH_PARTS": " ".join(self.parts),
            "TIDEWATCH_PORT": str(web),
            "TIDEWATCH_KAFKA_PORT": str(kafka),
            "TIDEWATCH_KAFKA_CONTROLLER_PORT": str(controller),
            "TIDEWATCH_POSTGRES_PORT": str(postgres),
            "TIDEWATCH_REDIS_PORT": str(redis),
        }
        self.services: dict[str, Service] = {}
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.log = self.directory / "stack.log"

    def __enter__(self) -> Stack:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close(keep=kind is not None)

    # The stack

    def start(self, deadline: float = 120.0) -> Stack:
        with self.log.open("ab") as log:
            self.supervisor = subprocess.Popen(
                bound([str(LOCAL / "stack.sh"), "run"], "TERM"),
                env=self.script_env, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )

        def ready() -> bool:
            assert self.supervisor and self.supervisor.poll() is None, f"the stack did not start: {self.log.read_text()}"
            return self.pid_of("supervisor") == self.supervisor.pid and (self.directory / "run" / "ready").exists()

        wait_until(ready, deadline, "a stack that is ready")
        return self

    def stop(self) -> None:
        """Ends the services, then the parts, in good order. The data stays; `start` goes on with it."""
        for service in self.services.values():
            if service.alive:
                service.stop()
        if self.supervisor and self.supervisor.poll() is None:
            self.supervisor.send_signal(signal.SIGTERM)
            self.supervisor.wait(90)

    def close(self, keep: bool = False) -> None:
        """After the test: end all of it, and forget the data unless the test failed and somebody wants to look."""
        for service in self.services.values():
            service.kill()
        self.stop()
        if keep and self.owned:
            print(f"the stack's data and logs are kept in {self.directory}")
        elif self.owned:
            if (self.directory / "run").exists():
                self.script("forget")
            shutil.rmtree(self.directory, ignore_errors=True)

    def script(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(LOCAL / "stack.sh"), *words], env=self.script_env, capture_output=True, text=True, timeout=180, check=False
        )
        assert not check or done.returncode == 0, f"stack.sh {shlex.join(words)}: {done.stdout}{done.stderr}"
        return done

    def pid_of(self, part: str) -> int | None:
        try:
            return int((self.directory / "run" / f"{part}.pid").read_text().split()[0])
        except (OSError, IndexError, ValueError):
            return None

    @property
    def postgres_url(self) -> str:
        password = (self.directory / "postgres.password").read_text().strip()
        return f"postgres://tidewatch:{password}@127.0.0.1:{self.ports[2]}/tidewatch"

    # Faults: part is kafka, postgres or redis

    def start_part(self, part: str) -> None:
        self.script("start", part)

    def stop_part(self, part: str) -> None:
        self.script("stop", part)

    def kill_part(self, part: str) -> None:
        self.script("kill", part)

    # Services

    def spawn(self, name: str, *args: str, program: str | None = None, env: dict[str, str] | None = None) -> Service:
        """A service as a process: `spawn("sink")` runs target/release/tidewatch-sink with this stack's addresses.

        `program` names another one; the name must be new. Settings of the environment are not passed on, but PATH and the like.
        """
        assert name not in self.services, f"there is a service named {name}: restart it instead"
        path = PROGRAMS / (program or f"tidewatch-{name}")
        assert path.exists(), f"{path} is not built"
        base = {key: value for key, value in os.environ.items() if not key.startswith(("TIDEWATCH_", "RUST_LOG"))}
        # `tidewatch up` takes all of them; a service ignores the environment's words for others.
        ours = {
            "TIDEWATCH_KAFKA_BROKERS": self.kafka,
            "TIDEWATCH_REDIS_URL": self.redis_url,
            "TIDEWATCH_STATE": str(self.directory / "tidewatch"),
            "TIDEWATCH_LOG_FORMAT": "json",
            "TIDEWATCH_ADMIN_LISTEN": "127.0.0.1:0",
        }
        if "postgres" in self.parts:
            ours["TIDEWATCH_POSTGRES_URL"] = self.postgres_url
        logs = self.directory / "service-logs"
        logs.mkdir(exist_ok=True)
        self.services[name] = Service(name, [str(path), *args], base | ours | (env or {}), logs / f"{name}.log")
        return self.services[name]

    def up(self, *args: str, env: dict[str, str] | None = None, deadline: float = 60.0) -> Service:
        """`tidewatch up`, every service in one process, at `self.web`; returns when it says that it is ready."""
        service = self.spawn("up", "up", *args, program="tidewatch", env={"TIDEWATCH_LISTEN": self.web} | (env or {}))
        service.wait_out(r"^kafka (\S+)$", deadline)
        return service

    def check_logs(self, allow: Iterable[str] = ()) -> None:
        """Fails on every WARN or ERROR that no pattern of `allow` expects."""
        expected = [re.compile(pattern) for pattern in allow]
        surprises = [
            f"{service.name}:{entry['line']}: {text_of(entry)[:500]}"
            for service in self.services.values()
            for entry in service.lines()
            if entry.get("level") in ("WARN", "ERROR") and not any(pattern.search(text_of(entry)) for pattern in expected)
        ]
        assert not surprises, f"{len(surprises)} unexpected warnings or errors:\n" + "\n".join(surprises[:20])
