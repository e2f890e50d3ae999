"""The id of a layout, computed as the schema says and not by our code: the same number stands in the Rust tests."""

import hashlib

import avro_contract as contract

LAYOUT = [
    {"metric": "node_load1", "labels": {}, "kind": "gauge", "unit": ""},
    {
        "metric": "node_cpu_seconds_total",
        "labels": {"cpu": "0", "mode": "idle"},
        "kind": "counter",
        "unit": "seconds",
    },
]


def layout_id(layout):
    # one byte is the id 0; the rest is the layout in Avro
    series = contract.write_datum("layout", {"layout_id": 0, "layout": layout})[1:]
    return int.from_bytes(hashlib.sha256(series).digest()[:8], "big", signed=True) or 1


def test_the_id_is_the_one_that_ours_computes():
    assert layout_id(LAYOUT) == 1_465_684_938_732_778_516
    assert layout_id(LAYOUT[:1]) != layout_id(LAYOUT)
