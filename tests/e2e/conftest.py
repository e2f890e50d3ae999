"""One shared pipeline for what does not need its own; who runs beside whom when there are several workers; the figures at the end."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))

from pipeline import FIGURES, Pipeline  # noqa: E402

# the longest first, so that it has company; those that share a pipeline last, and one after the other
ORDER = ["test_moving_partitions", "", "test_bad_input", "test_people", "test_incidents", "test_histogram_answers", "test_metrics", "test_pages", "test_faults"]


# before the plugin that reads the groups
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    def rank(item):
        name = item.module.__name__.rpartition(".")[2]
        return ORDER.index(name if name in ORDER else "")

    items.sort(key=rank)
    for item in items:
        # a worker of its own for each file, one for all that use the shared pipeline
        group = "shared" if "shared" in item.fixturenames else item.module.__name__
        item.add_marker(pytest.mark.xdist_group(group))


# alerts come only when a test wants one, and a server that stopped sending changes no answer
RULES = """\
rules:
  - name: alarm
    metric: alarm.level
    above: 50
    severity: warning
"""


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(RULES)
    settings = {"analyzer": ["--rules", rules], "visualizer": ["--visualizer-silent-after", "1d"]}
    pipeline = Pipeline("shared", settings=settings)
    yield pipeline
    pipeline.close()


@pytest.fixture(autouse=True)
def quiet_logs(request):
    """A test that used a pipeline leaves no surprise in its logs."""
    yield
    used = [value for value in request.node.funcargs.values() if isinstance(value, Pipeline)]
    for pipeline in used:
        pipeline.check_logs()


def pytest_sessionfinish(session):
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["figures"] = FIGURES


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node):
    FIGURES.extend(getattr(node, "workeroutput", {}).get("figures", []))


def pytest_terminal_summary(terminalreporter):
    if FIGURES:
        terminalreporter.section("figures")
        for line in FIGURES:
            terminalreporter.write_line(line)
