"""Our services as the benchmarks run them: a process of its own, with the rig's addresses and no setting of the caller's."""

from __future__ import annotations

from measure import Process
from rig import PROGRAMS, Rig


def start(rig: Rig, name: str, prefix: str = "", **settings: str) -> Process:
    """`settings` are those of the environment without `TIDEWATCH_`; they go before the rig's own."""
    ours = {
        "KAFKA_BROKERS": rig.kafka, "TOPIC_PREFIX": prefix, "POSTGRES_URL": rig.stack.postgres_url, "REDIS_URL": rig.stack.redis_url,
        "ADMIN_LISTEN": "127.0.0.1:0", "LOG_FORMAT": "json", "STATE": str(rig.work / f"{name}-state"),
    }
    env = rig.env() | {f"TIDEWATCH_{key}": value for key, value in (ours | settings).items()}
    return Process([str(PROGRAMS / f"tidewatch-{name}")], env, rig.work / f"{name}.log")
