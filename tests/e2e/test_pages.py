"""The pages in a real Chromium: the visualizer's own browser tests against the real services, with a server that really has a
gap; and the whole in one process, from its start to live charts on the printed link.
"""

import os
import re
import shutil
import struct
import subprocess
import time
from xml.etree import ElementTree

import psycopg
import pytest
import requests

from pipeline import Service, clean_environment, figure, new_port
from stack import REPO, wait_until

WEB = REPO / "visualizer/web"
HERE = REPO / "tests/e2e"


def node():
    program = shutil.which("node")
    assert program, "node is missing"
    assert (WEB / "node_modules/playwright-core").is_dir(), "run npm ci in visualizer/web"
    return program


@pytest.fixture(scope="module")
def fleet(shared):
    """Servers that send, and one that was silent for a while in the last two minutes."""
    process = shared.simulate("--servers", 4, "--interval", "1s", "--duration", "30m")
    now = int(time.time() * 1000)
    # at least a minute long, on the edges of windows, with samples on both sides, none of them late
    gap = ((now - 105_000) // 10_000 * 10_000, (now - 105_000) // 10_000 * 10_000 + 70_000)
    body = []
    for at in range(gap[0] - 5_000, now, 500):
        if gap[0] <= at < gap[1]:
            continue
        value = 20 + at // 500 % 7
        metrics = {"node_load1": value / 8, "tidewatch_host_cpu_busy_percent": value}
        metrics |= {f"gap.value{i}": value + i for i in range(4)}
        body.append({"server": "gap-1", "sequence": at, "timestamp": at, "metrics": metrics})
    answer = shared.ingest(body)
    assert answer.status_code == 202 and answer.json()["accepted"] == len(body), answer.text
    query = "SELECT count(*) FROM samples_10s s JOIN series e ON e.id = s.series_id JOIN servers v ON v.id = e.server_id WHERE v.name = %s"
    try:
        for server in ("gap-1", "sim-0001"):
            wait_until(lambda: shared.sql(query, server)[0][0] > 3, 60, f"windows of {server}", every=0.5)
        yield {"gap": gap}
        assert process.poll() is None, "the simulated fleet ended before the tests did"
    finally:
        process.kill()
        process.wait()


def test_the_gap_is_a_gap_in_the_api(shared, fleet):
    start, end = fleet["gap"]
    answer = shared.get("/api/v1/query", **{"server": "gap-1", "metric": "gap.value0", "from": start - 10_000, "to": end + 20_000, "step": 10_000})
    series = answer.json()["series"][0]
    for i, value in enumerate(series["avg"]):
        at = series["t0"] + i * 10_000
        assert (value is None) == (start <= at < end), (at - start, value)


def test_the_gap_is_a_gap_in_a_picture(shared, fleet):
    start, end = fleet["gap"]
    title = "<script>alert('load')</script> & more"
    question = {"metric": "gap.value0", "from": start - 60_000, "to": end + 20_000, "title": title}
    answer = shared.get("/api/v1/charts/gap-1.svg", **question)
    assert answer.headers["content-type"] == "image/svg+xml" and answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    document = ElementTree.fromstring(answer.content)
    words = [text.text for text in document.iter("{http://www.w3.org/2000/svg}text")]
    assert {title, "gap-1", "gap.value0", "no data"} <= set(words), words
    assert not any(element.tag.endswith("script") for element in document.iter())

    picture = shared.get("/api/v1/charts/gap-1.png", **question, width=400, height=200, theme="dark")
    assert picture.headers["content-type"] == "image/png"
    assert picture.content[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", picture.content[16:24]) == (800, 400)

    for path, status in [("gap-1.svg?metric=nothing", 404), ("nobody.png?metric=gap.value0", 404), ("gap-1.png?metric=gap.value0&width=1", 400)]:
        assert shared.call("GET", f"/api/v1/charts/{path}", role="viewer").status_code == status, path
    assert shared.call("GET", "/api/v1/charts/gap-1.png?metric=gap.value0", role=None).status_code == 401


@pytest.mark.timeout(400)
def test_the_browser_tests_of_the_pages(shared, fleet):
    start, end = fleet["gap"]
    environment = clean_environment(
        BASE_URL=shared.url,
        SIGN_IN_KEY=shared.keys["viewer"],
        SERVER="sim-0001",
        GAP_SERVER="gap-1",
        GAP_FROM=start,
        GAP_TO=end,
    )
    began = time.monotonic()
    done = subprocess.run(
        ["npm", "run", "--silent", "test:browser"], cwd=WEB, env=environment, capture_output=True, text=True, timeout=380
    )
    counts = dict(re.findall(r"^(?:#|\u2139) (tests|pass|fail|skipped|todo|cancelled) (\d+)$", done.stdout, re.MULTILINE))
    said = done.stdout[-6_000:] + done.stderr[-2_000:]
    assert counts, said
    counts = {name: int(number) for name, number in counts.items()}
    figure(f"pages: {counts['pass']} of {counts['tests']} browser tests passed in {time.monotonic() - began:.0f} s")
    assert done.returncode == 0 and counts["fail"] == 0 == counts.get("skipped", 0) + counts.get("todo", 0), said
    assert counts["pass"] == counts["tests"] >= 10, said


@pytest.fixture
def whole(shared):
    """`tidewatch up` on a topic prefix, a database and a Redis database of its own; started by the test."""
    url = shared.stack.postgres_url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE whole")
    state = shared.folder / "whole"
    environment = {
        "TIDEWATCH_STATE": str(state),
        "TIDEWATCH_POSTGRES_URL": url.rpartition("/")[0] + "/whole",
        "TIDEWATCH_REDIS_URL": shared.stack.redis_url + "1",
        "TIDEWATCH_TOPIC_PREFIX": "whole.",
    }
    started = []

    def start():
        listen = f"127.0.0.1:{new_port()}"
        started.append(Service(shared.stack, "up", "up", "--listen", listen, env=environment))
        return started[0]

    yield start
    for service in started:
        assert service.process.stop() == 0, service.process.tail()


def test_a_browser_on_the_printed_link_shows_live_charts(shared, whole):
    began = time.monotonic()
    service = whole()
    service.process.wait_out(r"^kafka (\S+)$")
    ready = time.monotonic() - began
    lines = dict(line.split(" ", 1) for line in service.process.out.read_text().splitlines())
    link = lines["ready"]
    assert os.stat(lines["admin-key"]).st_mode & 0o777 == 0o600

    opened = subprocess.run(
        [node(), "live.mjs", link], cwd=HERE, capture_output=True, text=True, timeout=90, env=clean_environment()
    )
    assert opened.returncode == 0, opened.stdout[-3_000:] + opened.stderr[-3_000:]
    seconds = float(re.search(r"^live (\d+(?:\.\d+)?)$", opened.stdout, re.MULTILINE)[1])
    stepped = float(re.search(r"^stepped (\d+(?:\.\d+)?)$", opened.stdout, re.MULTILINE)[1])
    figure(
        f"pages: tidewatch up ready {ready:.1f} s after its start; live charts in a browser {seconds:.1f} s after that,"
        f" a new window drawn {stepped:.1f} s after that"
    )
    assert seconds <= 15

    used = requests.get(link, allow_redirects=False, timeout=5)
    assert used.status_code == 303 and "expired" in used.headers["location"] and "set-cookie" not in used.headers
    surprises = [line for line in service.new_lines() if '"WARN"' in line or '"ERROR"' in line]
    assert not surprises, surprises
