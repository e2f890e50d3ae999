"""What each service can be told, read from the crates.

In: the Rust sources. Out: the names of environment variables for each service. Keeps: a setting that is renamed or added
there is seen here at once, since nothing is listed twice.
"""

import re
from pathlib import Path

ENV = re.compile(r'\benv = "([A-Z0-9_]+)"')
SERVICES = ("ingest", "stream-processor", "analyzer", "notify", "sink", "visualizer", "gateway")


def _names(path: Path) -> set[str]:
    text = path.read_text(encoding="utf-8").split("#[cfg(test)]")[0]
    found = set(ENV.findall(text))
    if not found:
        raise SystemExit(f"{path}: no setting was found: has it moved?")
    return found


def _flattened(path: Path) -> set[str]:
    return set(re.findall(r"#\[command\(flatten\)\]\s*(?:pub(?:\(\w+\))? )?\w+: (\w+)", path.read_text(encoding="utf-8")))


def of_services(repo: Path) -> dict[str, set[str]]:
    """The settings of each service, of the job that makes topics, and the shared ones under their own names."""
    shared = {
        "KafkaConfig": _names(repo / "service-kit/src/kafka.rs"),
        "StoreConfig": _names(repo / "store/src/config.rs"),
    }
    common = _names(repo / "service-kit/src/config.rs")

    def all_of(path: Path) -> set[str]:
        names = _names(path)
        for struct in _flattened(path):
            names |= shared[struct]
        return names

    known = {service: common | all_of(repo / service / "src/config.rs") for service in SERVICES}
    known["topics"] = all_of(repo / "tidewatch/src/topics.rs") | {"RUST_LOG"}
    # the host collector is ingest
    known["collector"] = known["ingest"]
    return known
