"""The local stack itself: it starts, survives faults of its parts, leaves nothing behind when killed, and says what is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import psycopg
import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from stack import LOCAL, PARTS, Stack, wait_until

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def stack():
    with Stack() as running:
        yield running


def ours(stack: Stack) -> list[int]:
    """Every process whose command line or folder is this stack's, whoever its parent is."""
    found = []
    here = str(stack.directory)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace")
            folder = os.readlink(process / "cwd")
        except OSError:
            continue
        if int(process.name) != os.getpid() and (here in words or folder.startswith(here)):
            found.append(int(process.name))
    return found


def is_closed(port: int) -> bool:
    with socket.socket() as call:
        return call.connect_ex(("127.0.0.1", port)) != 0


def write_marks(stack: Stack) -> None:
    # held by a name: a client that is collected takes its unanswered calls with it
    admin = AdminClient({"bootstrap.servers": stack.kafka})
    admin.create_topics([NewTopic("marks", 1, 1)])["marks"].result(20)
    producer = Producer({"bootstrap.servers": stack.kafka, "acks": "all"})
    producer.produce("marks", b"still here")
    assert producer.flush(20) == 0
    with psycopg.connect(stack.postgres_url) as connection:
        connection.execute("CREATE TABLE mark AS SELECT 42 AS answer")


def read_marks(stack: Stack) -> None:
    consumer = Consumer({"bootstrap.servers": stack.kafka, "group.id": f"look-{time.monotonic_ns()}", "auto.offset.reset": "earliest"})
    consumer.subscribe(["marks"])
    message = wait_until(lambda: consumer.poll(1.0), 30, "the message")
    assert message.error() is None and message.value() == b"still here"
    consumer.close()
    with psycopg.connect(stack.postgres_url) as connection:
        assert connection.execute("SELECT answer FROM mark").fetchone() == (42,)


def test_data_survives_every_end(stack: Stack) -> None:
    assert redis.Redis.from_url(stack.redis_url).config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
    write_marks(stack)
    for part in PARTS:
        for end in (stack.kill_part, stack.stop_part):
            end(part)
            assert "off" in next(line for line in stack.script("status", check=False).stdout.splitlines() if line.startswith(part))
            stack.start_part(part)
    # an accident that nobody announced
    os.kill(stack.pid_of("redis"), signal.SIGKILL)
    wait_until(lambda: stack.pid_of("redis") is None, 10, "the supervisor's notice")
    stack.start_part("redis")
    assert redis.Redis.from_url(stack.redis_url).ping()
    read_marks(stack)


def test_a_second_one_says_that_one_runs(stack: Stack) -> None:
    began = time.monotonic()
    second = stack.script("run")
    assert "already running" in second.stdout and str(stack.supervisor.pid) in second.stdout
    assert time.monotonic() - began < 5
    assert "stop it first" in stack.script("forget", check=False).stderr


def test_a_stranger_does_not_get_in(stack: Stack) -> None:
    port = stack.ports[2]
    for login in ("postgres://tidewatch:wrong@", "postgres://tidewatch@", "postgres://postgres@"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"{login}127.0.0.1:{port}/tidewatch", connect_timeout=5)
    assert (stack.directory / "postgres.password").stat().st_mode & 0o077 == 0


def test_a_killed_stack_leaves_nothing(stack: Stack) -> None:
    old = stack.supervisor.pid
    assert len(ours(stack)) >= 3
    os.kill(old, signal.SIGKILL)
    stack.supervisor.wait(10)
    wait_until(lambda: not ours(stack), 15, "the end of all its processes")
    # the kernel closes a dying process' ports a moment after it took its command line away
    for port in stack.ports[:4]:
        wait_until(lambda port=port: is_closed(port), 5, f"port {port} to be free")
    stack.start()
    read_marks(stack)


def test_orphans_and_stale_files_do_not_block(stack: Stack) -> None:
    # The worst end: the postmaster dies first, without a chance to tell its backends, then the supervisor.
    os.kill(stack.pid_of("postgres"), signal.SIGKILL)
    os.kill(stack.supervisor.pid, signal.SIGKILL)
    stack.supervisor.wait(10)
    # A stale record whose process id now belongs to somebody else: this very test.
    record = stack.directory / "run" / "redis.pid"
    record.write_text(f"{os.getpid()} 1 00000000-0000-0000-0000-000000000000\n")
    stack.start()
    read_marks(stack)
    stack.stop()
    assert not ours(stack)
    stack.start()


def test_a_second_signal_ends_it_at_once(stack: Stack) -> None:
    for _ in range(2):
        os.kill(stack.supervisor.pid, signal.SIGTERM)
        time.sleep(0.02)
    stack.supervisor.wait(15)
    wait_until(lambda: not ours(stack), 15, "the end of all its processes")
    stack.start()
    read_marks(stack)


def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    other = Stack(directory=tmp_path / "state")
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", other.ports[2]))
        squatter.listen()
        done = subprocess.run([str(LOCAL / "stack.sh"), "run"], env=other.script_env, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    sentences = done.stderr.strip().splitlines()
    assert len(sentences) == 1 and f"port {other.ports[2]}" in sentences[0] and "TIDEWATCH_POSTGRES_PORT" in sentences[0]
    assert not (tmp_path / "state" / "kafka").exists(), "nothing may have been started"


def test_a_state_folder_that_postgres_may_not_walk_to(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root has to drop to another user")
    (tmp_path / "closed").mkdir(mode=0o700)
    with Stack(parts=("postgres",), directory=tmp_path / "closed" / "state") as other:
        elsewhere = Path((other.directory / "postgres.path").read_text().strip())
        assert elsewhere.is_relative_to("/var/tmp")
        with psycopg.connect(other.postgres_url) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        other.stop()
        other.script("forget")
        assert not elsewhere.parent.exists()
