"""Through the door, on the real parts: what people say of a server and who may, what completion offers, and that an answer which the
asker has is not sent again."""

import time

import pytest

from stack import wait_until
from test_bad_input import is_problem

SERVER = "people-1"
PATH = f"/api/v1/servers/{SERVER}"
KIND = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture(scope="module")
def known(shared):
    assert shared.ingest({"server": SERVER, "metrics": {"people.load": 1}}).status_code == 202
    wait_until(lambda: shared.call("GET", PATH, "viewer").status_code == 200, 60, "the server is known", every=0.5)


def test_an_admin_says_something_of_a_server_and_its_collector_does_not_undo_it(shared, known):
    for role in ("viewer", "writer"):
        is_problem(shared.call("PATCH", PATH, role, json={"display_name": "x"}), 403, "role_not_allowed")
    refused = is_problem(shared.call("PATCH", PATH, "admin", json={"last_seen": None}), 422, "bad_value")
    assert refused["parameter"] == "last_seen"
    said = '{"display_name": "Till 4", "labels": {"dc": "fra", "gone": null}}'
    answer = shared.call("PATCH", PATH, "admin", data=said, headers=KIND)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["name"], told["display_name"], told["labels"]) == (SERVER, "Till 4", {"dc": "fra"})
    assert shared.get(PATH).json() == told

    described = {"server": SERVER, "metrics": {"tidewatch_host_info": 1}, "labels": {"dc": "ams", "os": "linux"}}
    assert shared.ingest(described).status_code == 202
    told = wait_until(lambda: (seen := shared.get(PATH).json())["labels"].get("os") and seen, 60, "its collector's labels", every=0.5)
    assert (told["display_name"], told["labels"]) == ("Till 4", {"dc": "fra", "os": "linux"})

    offered = shared.get("/api/v1/label/dc/values", match=f"server.name={SERVER}").json()
    assert offered["values"] == [{"value": "ams", "servers": 0, "series": 1}, {"value": "fra", "servers": 1, "series": 0}]
    offered = shared.get("/api/v1/metric-names", match=[f"server.name={SERVER}", "server.dc=fra"], q="LOAD").json()
    assert offered["metrics"] == [{"name": "people.load", "series": 1}] and not offered["more"]


def test_an_answer_that_the_asker_has_is_not_sent_again(shared, known):
    now = int(time.time() * 1000)
    past = {"server": SERVER, "from": now - 7_200_000, "to": now - 3_600_000, "step": 60_000}
    for path, parameters, kept in (("/api/v1/query", past, "max-age=300"), ("/api/v1/label/dc/values", {}, "max-age=0")):
        first = shared.get(path, **parameters)
        assert kept in first.headers["Cache-Control"] and "private" in first.headers["Cache-Control"], first.headers
        varies = {name.strip().lower() for name in first.headers["Vary"].split(",")}
        assert varies == {"accept", "accept-encoding", "authorization", "x-api-key", "cookie"}
        assert "X-Tidewatch-As-Of" in first.headers and "Age" not in first.headers
        again = shared.call("GET", path, "viewer", params=parameters, headers={"If-None-Match": first.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b""), f"{path}: {again.status_code}"
        for name in ("ETag", "Cache-Control", "Vary", "X-Tidewatch-Source"):
            assert again.headers[name] == first.headers[name], name
        # who may not ask is told so, whatever he has
        refused = shared.call("GET", path, "writer", params=parameters, headers={"If-None-Match": first.headers["ETag"]})
        is_problem(refused, 403, "role_not_allowed")
