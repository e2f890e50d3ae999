"""Kafka as a foreign program uses it: confluent-kafka and fastavro, nothing of ours."""

import threading
import time

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, Producer, TopicPartition

import avro_contract as contract
from pipeline import PREFIX

RAW = PREFIX + "metrics.raw"
ALERTS = PREFIX + "alerts"
DEAD_LETTER = PREFIX + "dead-letter.stream-processor"


def producer(pipeline, **more):
    """Keys agree with those of every Java client, and so with ours."""
    return Producer(
        {
            "bootstrap.servers": pipeline.brokers,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "compression.type": "lz4",
            "linger.ms": 10,
        }
        | more
    )


def send(client, topic, key, value, headers=None, partition=None):
    """Hands over one record; a full queue is waited for."""
    more = {} if partition is None else {"partition": partition}
    while True:
        try:
            client.produce(topic, key=key, value=value, headers=headers, **more)
            client.poll(0)
            return
        except BufferError:
            client.poll(0.05)


def flush(client):
    left = client.flush(30)
    assert left == 0, f"{left} records were not acknowledged within 30 s"


def _consumer(pipeline):
    return Consumer(
        {
            "bootstrap.servers": pipeline.brokers,
            "group.id": "tests",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )


def partitions(pipeline, topic):
    client = _consumer(pipeline)
    try:
        return sorted(client.list_topics(topic, timeout=10).topics[topic].partitions)
    finally:
        client.close()


def ends(pipeline, topic):
    """Where each partition ends now."""
    client = _consumer(pipeline)
    try:
        numbers = sorted(client.list_topics(topic, timeout=10).topics[topic].partitions)
        return {n: client.get_watermark_offsets(TopicPartition(topic, n), timeout=10)[1] for n in numbers}
    finally:
        client.close()


def read(pipeline, topic, start=None, within=60):
    """Every committed record of a topic from `start` (partition -> offset; default: the beginning) to its end now."""
    client = _consumer(pipeline)
    try:
        numbers = sorted(client.list_topics(topic, timeout=10).topics[topic].partitions)
        begin = {n: OFFSET_BEGINNING for n in numbers} | (start or {})
        client.assign([TopicPartition(topic, n, offset) for n, offset in begin.items()])
        open_partitions, messages = set(numbers), []
        deadline = time.monotonic() + within
        while open_partitions:
            assert time.monotonic() < deadline, f"{topic}: no end within {within} s"
            for message in client.consume(1_000, timeout=1):
                if message.error() is None:
                    messages.append(message)
                elif message.error().code() == KafkaError._PARTITION_EOF:
                    open_partitions.discard(message.partition())
                else:
                    raise AssertionError(f"{topic}: {message.error()}")
        return messages
    finally:
        client.close()


def headers(message):
    return {name: (value or b"").decode() for name, value in message.headers() or []}


class Subscriber:
    """Follows the alert topic from now on, as somebody's own program would."""

    def __init__(self, pipeline, topic=ALERTS, record="alert"):
        self.received = []
        self._record = record
        self._stop = threading.Event()
        self._client = _consumer(pipeline)
        numbers = sorted(self._client.list_topics(topic, timeout=10).topics[topic].partitions)
        self._client.assign([TopicPartition(topic, n, OFFSET_END) for n in numbers])
        waiting = set(numbers)
        # the end is resolved by the first fetch: what comes after it is ours
        while waiting:
            message = self._client.poll(5)
            assert message is not None, f"{topic}: no answer"
            if message.error() is not None:
                waiting.discard(message.partition())
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        while not self._stop.is_set():
            message = self._client.poll(0.1)
            if message is None or message.error() is not None:
                continue
            value = contract.decode(self._record, message.value())
            value |= {"received": time.time(), "headers": headers(message), "key": message.key()}
            self.received.append(value)

    def of(self, **fields):
        return [a for a in list(self.received) if all(a[name] == value for name, value in fields.items())]

    def close(self):
        self._stop.set()
        self._thread.join()
        self._client.close()
