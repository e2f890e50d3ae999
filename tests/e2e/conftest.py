"""One shared pipeline for what does not need its own; who runs beside whom when there are several workers; the figures at the end."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "contracts"))

from pipeline import FIGURES, Pipeline  # noqa: E402

# those that share a pipeline, in the order that keeps what breaks things last
SHARED = ["test_bad_input", "test_people", "test_incidents", "test_histogram_answers", "test_metrics", "test_pages", "test_faults"]
# the longest first, so that they have company
ORDER = ["test_moving_partitions", *SHARED, ""]


def pytest_collection_modifyitems(items):
    def rank(item):
        name = item.module.__name__.rpartition(".")[2]
        return ORDER.index(name if name in ORDER else "")

    items.sort(key=rank)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Of several workers one has all of a file, and one has all files that share a pipeline."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "shared" if Path(file).stem in SHARED else file

    return Scheduling(config, log)


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
