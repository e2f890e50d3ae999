"""The collector of a host names its layout once Kafka has it, and the windows know what is meant."""

import math

import pytest

import avro_contract as contract
import topics
from pipeline import Pipeline, Service, figure, new_port
from reckoning import series_key
from stack import wait_until

HOST = "named-host"


@pytest.fixture(scope="module")
def pipeline():
    pipeline = Pipeline("layout names", services=("stream-processor",))
    arguments = ["--ingest-listen", f"127.0.0.1:{new_port()}", "--collect-interval", "1s", "--server-name", HOST]
    pipeline.services["ingest"] = Service(pipeline.stack, "ingest", "ingest", arguments=arguments)
    pipeline["ingest"].await_ready()
    yield pipeline
    pipeline.close()


def test_a_named_layout_is_counted_like_one_that_is_sent(pipeline):
    wait_until(lambda: pipeline["ingest"].metrics().get("tidewatch_ingest_layout_named") == 1, 40, "a layout with a name")

    def whole_windows():
        records = topics.read(pipeline, "tidewatch.metrics.10s")
        windows = [contract.decode("aggregate_frame", record.value()) for record in records]
        return [w for w in windows if w["server"] == HOST and max(w["count"]) == 10]

    windows = wait_until(lambda: len(found := whole_windows()) >= 3 and found, 90, "three whole windows", every=1.0)

    records = topics.read(pipeline, "tidewatch.metrics.raw")
    frames = [contract.decode("metric_frame", record.value()) for record in records if record.value()]
    inline = [frame for frame in frames if frame["layout_id"] == 0]
    named = [frame for frame in frames if frame["layout_id"] != 0]
    assert inline and named and all(frame["layout"] for frame in inline) and not any(frame["layout"] for frame in named)

    announced = {}
    for record in topics.read(pipeline, "tidewatch.metrics.layouts"):
        layout = contract.decode("layout", record.value())
        assert record.key() == str(layout["layout_id"]).encode()
        # by code that is not ours
        assert contract.layout_id(layout["layout"]) == layout["layout_id"]
        announced[layout["layout_id"]] = layout["layout"]
    assert {frame["layout_id"] for frame in named} <= announced.keys()
    assert all(len(frame["values"]) == len(announced[frame["layout_id"]]) for frame in named)

    window = windows[-1]
    begin, end = window["window_start"], window["window_start"] + 10_000
    inside = [frame for frame in frames if begin <= frame["collected_at"] < end]
    assert len(inside) == 10 and any(frame["layout_id"] for frame in inside)
    last = max(inside, key=lambda frame: frame["collected_at"])
    sent = dict(zip(map(series_key, announced.get(last["layout_id"], last["layout"])), last["values"], strict=True))
    said = dict(zip(map(series_key, window["layout"]), window["last"], strict=True))
    expected = {series: value for series, value in sent.items() if not math.isnan(value)}
    assert {series: said[series] for series in expected} == expected
    letters = pipeline["stream-processor"].metrics()
    assert not sum(value for name, value in letters.items() if name.startswith("tidewatch_stream_processor_dead_letters_total"))
    sizes = [sum(map(len, group)) / len(group) for group in ([contract.encode("metric_frame", f) for f in some] for some in (inline, named))]
    figure(f"layout names: a frame of this host takes {sizes[1]:,.0f} bytes in place of {sizes[0]:,.0f}")
