"""The id of a layout, computed as the schema says and not by our code: the same number stands in the Rust tests."""

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


def test_the_id_is_the_one_that_ours_computes():
    assert contract.layout_id(LAYOUT) == 1_465_684_938_732_778_516
    assert contract.layout_id(LAYOUT[:1]) != contract.layout_id(LAYOUT)
