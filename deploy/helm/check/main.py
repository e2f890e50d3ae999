"""All checks of the chart; deploy/helm/check.sh starts it.

In: HELM, the chart, the crates' sources, the built program where there is one. Out: a line for each check, `N passed, N
failed` last, status 1 when any failed. Keeps: a check that fails does not hide the next.
"""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import chart
import compose
import refusals
import rendered
import settings

# What a service could be told and the chart does not offer, with the reason.
NOT_OFFERED = {
    "TIDEWATCH_CONFIG": "there is one way to tell a pod something: its environment",
    "TIDEWATCH_GATEWAY_SIGN_IN_CODE_SHA256": "good for one browser at one instance: made for the local stack",
}


class Report:
    """Counts and prints."""

    def __init__(self) -> None:
        self.passed = self.failed = 0

    def check(self, what: str, complaints: Callable[[], Iterable[str]]) -> None:
        try:
            found = list(complaints())
        except Exception as error:  # whatever it is, it is this check's and not the end of the others
            found = [f"{type(error).__name__}: {error}"]
        if found:
            self.failed += 1
            print(f"FAIL {what}")
            for complaint in found:
                print(f"     {complaint}")
        else:
            self.passed += 1
            print(f"ok   {what}")


def extra_variables(values: dict) -> dict[str, set[str]]:
    """The variables that the values add by extraEnv, for each service."""
    names = {"streamProcessor": "stream-processor"}
    return {
        names.get(key, key): {variable["name"] for variable in part.get("extraEnv", [])} for key, part in values.items() if isinstance(part, dict)
    }


def offered(known: dict[str, set[str]], outputs: list[list[dict]]) -> Iterable[str]:
    """Whatever a service can be told, the chart sets or the schema offers, and nothing else."""
    given: dict[str, set[str]] = {}
    for docs in outputs:
        for _, component, template in rendered.pods(docs):
            given.setdefault(component, set()).update(rendered.environment(docs, template))
    for service in settings.SERVICES:
        by_schema = chart.schema_settings(service)
        missing = known[service] - given[service] - by_schema - NOT_OFFERED.keys()
        if service == "ingest":
            missing -= given["collector"]
        yield from (f"{name} of {service} is neither set nor offered" for name in sorted(missing))
        yield from (f"{name} is offered to {service}, which has no such setting" for name in sorted(by_schema - known[service]))
    yield from (f"{name} is no setting any more" for name in NOT_OFFERED if not any(name in names for names in known.values()))


def accepted(program: Path, docs: list[dict]) -> Iterable[str]:
    """Every service takes what it would find in its pod."""
    with tempfile.TemporaryDirectory() as folder:
        for name, component, template in rendered.pods(docs):
            if component == "topics":
                continue
            environment = chart.stand_in(docs, rendered.environment(docs, template), Path(folder))
            status, words = chart.check_config(program, template["spec"]["containers"][0]["args"], environment)
            if status != 0:
                yield f"{name}: status {status}: {words}"
            # the same with one value spoilt: the question has to be able to fail
            status, _ = chart.check_config(program, [*template["spec"]["containers"][0]["args"]], environment | {"TIDEWATCH_DRAIN_TIMEOUT": "soon"})
            if status != 64:
                yield f"{name}: a drain timeout of `soon` gives status {status}, not 64"


def main() -> int:
    report = Report()
    known = settings.of_services(chart.REPO)
    files = sorted((chart.CHART / "ci").glob("*.yaml"))
    program = chart.program()
    outputs = []
    if len(files) < 4:
        report.check("there are value files to try", lambda: [f"only {len(files)} in ci/"])
    for file in files:
        values = chart.load(file.read_text(encoding="utf-8"))[0]
        report.check(f"{file.stem}: helm lint --strict", lambda file=file: chart.lint(file))
        docs: list[dict] = []
        report.check(f"{file.stem}: helm template", lambda file=file, docs=docs: chart.render_into(docs, file))
        outputs.append(docs)
        checks = {
            f"valid for Kubernetes {', '.join(rendered.VERSIONS)}": rendered.valid,
            "names are unique": rendered.unique,
            "pods are confined and bounded": rendered.safe,
            "pods are probed": rendered.probed,
            "names name what is there": rendered.connected,
            "every variable is a setting": lambda docs, values=values: rendered.told(docs, known, extra_variables(values)),
        }
        if program:
            checks["services accept what they are told"] = lambda docs: accepted(program, docs)
        for what, check in checks.items():
            report.check(f"{file.stem}: {what}", lambda check=check, docs=docs: check(docs) if docs else ["nothing was rendered"])
    if not program:
        print("note the program is not built: whether services accept the values was not asked")
    report.check("every setting is offered", lambda: offered(known, outputs))
    report.check("the schema is strict and draft 7", chart.schema_is_strict)
    report.check("values, schema and README name the same", chart.values_are_described)
    report.check("our rules arrive whole", chart.rules_arrive)
    report.check("large numbers stay whole", lambda: chart.numbers_stay(files))
    report.check("notes say how to get in", lambda: chart.notes(files))
    report.check("compose.yaml: every variable is a setting", lambda: compose.variables(known))
    report.check("compose.yaml: names name what is there", compose.connected)
    if program:
        report.check("compose.yaml: services accept what they are told", lambda: compose.accepted(program))
    report.check("Containerfile fits the checkout", compose.containerfile)
    for refusal in refusals.ALL:
        report.check(f"refused: {refusal.what}", refusal.complaints)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    os.environ.pop("KUBECONFIG", None)
    sys.exit(main())
