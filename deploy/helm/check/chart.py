"""The chart from outside: helm on it, its schema, its words, and the program that it would start.

In: HELM, deploy/helm/tidewatch. Out: documents and complaints. Keeps: helm is told of no cluster and of no settings of the
person who runs it.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

REPO = Path(__file__).resolve().parents[3]
CHART = REPO / "deploy/helm/tidewatch"
RELEASE = "watch"


class HelmError(Exception):
    """Helm did not do what it was asked; its words."""


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that is there twice, as the API server does."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if not key.tag.endswith(":merge")]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"line {node.start_mark.line + 1}: {', '.join(twice)} is there twice")
        return super().construct_mapping(node, deep)


def load(text: str) -> list[dict]:
    return [doc for doc in yaml.load_all(text, StrictLoader) if doc]


def helm(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([os.environ["HELM"], *arguments], capture_output=True, text=True, timeout=60, check=False)


def template(*arguments: str) -> subprocess.CompletedProcess:
    return helm("template", RELEASE, str(CHART), "--namespace", "monitoring", *arguments)


def lint(file: Path) -> Iterator[str]:
    result = helm("lint", "--strict", str(CHART), "-f", str(file))
    if result.returncode or "0 chart(s) failed" not in result.stdout:
        yield result.stdout + result.stderr


def render(*arguments: str) -> list[dict]:
    result = template(*arguments)
    if result.returncode:
        raise HelmError(result.stderr.strip())
    return load(result.stdout)


def render_into(docs: list[dict], file: Path) -> Iterator[str]:
    docs.extend(render("-f", str(file)))
    kinds = {doc["kind"] for doc in docs}
    yield from (f"there is no {kind}" for kind in ("Deployment", "StatefulSet", "Service", "ConfigMap", "Job") if kind not in kinds)


# --- the schema and the words ---

# Maps whose keys are the user's to choose, or that somebody else checks.
OPEN = {"labels", "annotations", "affinity", "global"}


def schema() -> dict:
    return json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def resolve(node: dict) -> dict:
    reference = node.get("$ref")
    return schema()["definitions"][reference.removeprefix("#/definitions/")] if reference else node


def schema_settings(service: str) -> set[str]:
    """The settings that the values offer for a service, those of the stores it knows included."""
    properties = schema()["properties"]
    key = "streamProcessor" if service == "stream-processor" else service
    parts = [key] + (["postgresql", "redis"] if service in ("sink", "visualizer") else [])
    return set().union(*(resolve(properties[part]["properties"]["settings"])["properties"] for part in parts))


def schema_is_strict() -> Iterator[str]:
    whole = schema()
    if whole["$schema"] != "http://json-schema.org/draft-07/schema#":
        yield f"it is {whole['$schema']}"
    objects = 0

    def walk(node: object, path: tuple) -> Iterator[str]:
        nonlocal objects
        if isinstance(node, list):
            for item in node:
                yield from walk(item, path)
        if not isinstance(node, dict):
            return
        if node.get("type") == "object":
            objects += 1
            if node.get("additionalProperties") is not False and not OPEN & set(path):
                yield f"{'.'.join(path)} lets unknown keys in"
        for key, value in node.items():
            yield from walk(value, (*path, key))

    yield from walk(whole, ())
    if objects < 40:
        yield f"only {objects} objects were looked at"


def leaves(values: dict, nodes: dict, path: str = "") -> Iterator[tuple[str, str | None]]:
    """(path of a default, complaint) for every default and for every value the schema has without one."""
    properties = resolve(nodes)["properties"]
    for key in sorted(values.keys() | properties.keys()):
        full = f"{path}{key}"
        if full == "global":
            continue
        if key not in values:
            yield full, f"{full} has no default in values.yaml"
        elif key not in properties:
            yield full, f"{full} is not in the schema"
        elif isinstance(values[key], dict) and "properties" in resolve(properties[key]) and key not in ("settings", "resources", "affinity"):
            yield from leaves(values[key], properties[key], f"{full}.")
        else:
            yield full, None


def values_are_described() -> Iterator[str]:
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    seen = 0
    for path, complaint in leaves(load(text)[0], schema()):
        seen += 1
        if complaint:
            yield complaint
        elif f"`{path}`" not in readme and f"`*.{path.split('.')[-1]}`" not in readme:
            yield f"{path} is not in README.md"
    if seen < 60:
        yield f"only {seen} values were found"
    lines = [line.strip() for line in text.splitlines()]
    for number, line in enumerate(lines):
        if line and not line.startswith(("#", "- ")) and not line.endswith(":") and not lines[number - 1].startswith("#"):
            if line.split(":")[0] not in ("requests", "limits"):
                yield f"values.yaml:{number + 1}: no comment says what it is"


# --- what arrives ---


def rules_arrive() -> Iterator[str]:
    ours = REPO / "deploy/rules/host.yaml"
    docs = render("-f", str(CHART / "ci/minimal.yaml"), "--set-file", f"analyzer.rules={ours}")
    (rules,) = (doc["data"]["rules.yaml"] for doc in docs if doc["metadata"]["name"].endswith("-rules"))
    if rules.strip() != ours.read_text(encoding="utf-8").strip():
        yield "deploy/rules/host.yaml is not the same in the ConfigMap"


def numbers_stay(files: Iterable[Path]) -> Iterator[str]:
    """Each number of `settings` is, digit by digit, in a ConfigMap: none became 2.68435456e+08."""
    seen = 0
    for file in files:
        values = load(file.read_text(encoding="utf-8"))[0]
        given = {k: v for part in values.values() if isinstance(part, dict) for k, v in part.get("settings", {}).items()}
        found = {k: v for doc in render("-f", str(file)) if doc["kind"] == "ConfigMap" for k, v in (doc.get("data") or {}).items()}
        for name, value in given.items():
            seen += type(value) is int
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if found.get(name) != text:
                yield f"{file.stem}: {name} is {found.get(name)!r}, not {text!r}"
    if seen < 3:
        yield f"only {seen} numbers were looked at"


def notes(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        result = helm("install", RELEASE, str(CHART), "--dry-run=client", "--namespace", "monitoring", "-f", str(file))
        text = result.stdout.split("NOTES:")[-1]
        ingress = "ingress" in load(file.read_text(encoding="utf-8"))[0]
        wanted = ["https://tidewatch.example/"] if ingress else ["port-forward service/", "-gateway 8080:80"]
        if result.returncode or not all(words in text for words in wanted):
            yield f"{file.stem}: status {result.returncode}: {text.strip()[:300]} {result.stderr.strip()}"


# --- the program ---


def program() -> Path | None:
    """The `tidewatch` that was built last, or the one that is named."""
    if named := os.environ.get("TIDEWATCH_BIN"):
        return Path(named)
    built = [path for path in (REPO / "target" / profile / "tidewatch" for profile in ("release", "debug", "dist")) if path.is_file()]
    return max(built, key=lambda path: path.stat().st_mtime, default=None)


STAND_INS = {
    "TIDEWATCH_POSTGRES_URL": "postgres://user:secret@host:5432/tidewatch",
    "TIDEWATCH_REDIS_URL": "redis://:secret@host:6379/0",
    "TIDEWATCH_SESSION_SECRET": "0123456789abcdef0123456789abcdef",
    "TIDEWATCH_NOTIFY_WEBHOOK": "https://hooks.example/token,https://pager.example/",
    "TIDEWATCH_NOTIFY_WEBHOOK_SECRET": "0123456789abcdef0123456789abcdef",
}


def stand_in(docs: list[dict], environment: dict[str, str | None], folder: Path) -> dict[str, str]:
    """The environment with something in place of what Secrets, the cluster and mounted files would give."""
    full = {name: STAND_INS.get(name, "watch-0") if value is None else value for name, value in environment.items()}
    for name, key in (("TIDEWATCH_KEYS", "keys.yaml"), ("TIDEWATCH_ANALYZER_RULES", "rules.yaml"), ("TIDEWATCH_WINDOW_FILTERS", "filters.yaml")):
        if name in full:
            given = [part[key] for doc in docs for part in (doc.get("data"), doc.get("stringData")) if part and key in part]
            file = folder / key
            file.write_text(given[0] if given else "[]\n", encoding="utf-8")
            full[name] = str(file)
    return full


def check_config(program: Path, arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    command = [str(program), *arguments, "--check-config"]
    # an empty list of keys, for whoever reads them from there
    result = subprocess.run(command, env=environment, input="[]\n", capture_output=True, text=True, timeout=30, check=False)
    return result.returncode, result.stderr.strip()
