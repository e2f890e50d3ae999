"""deploy/compose.yaml and deploy/Containerfile, as far as they can be judged without a container engine.

In: the two files, the settings of the crates. Out: complaints. Keeps: a setting that is renamed is found here too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import chart

FILE = chart.REPO / "deploy/compose.yaml"
CONTAINERFILE = chart.REPO / "deploy/Containerfile"


def services() -> dict[str, dict]:
    """Our own services, by name: those of our image that a command names."""
    whole = chart.load(FILE.read_text(encoding="utf-8"))[0]["services"]
    return {name: service for name, service in whole.items() if service["image"].startswith("tidewatch") and "command" in service and "entrypoint" not in service}


def environment(service: dict) -> dict[str, str]:
    """As compose fills it in where nothing else is set: `${NAME:-default}` is the default."""
    return {name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value)) for name, value in service["environment"].items()}


def variables(known: dict[str, set[str]]) -> Iterator[str]:
    found = services()
    if found.keys() != known.keys():
        yield f"the services are {sorted(found)}"
    for name, service in found.items():
        yield from (f"{variable} is no setting of {name}" for variable in sorted(environment(service).keys() - known[name]))


def accepted(program: Path) -> Iterator[str]:
    for name, service in services().items():
        if name == "topics":
            continue
        stand_in = {"TIDEWATCH_KEYS": "/dev/stdin", "TIDEWATCH_ANALYZER_RULES": str(chart.REPO / "deploy/rules/host.yaml")}
        told = environment(service)
        told |= {key: value for key, value in stand_in.items() if key in told}
        status, words = chart.check_config(program, service["command"], told)
        if status:
            yield f"{name}: status {status}: {words}"


def connected() -> Iterator[str]:
    """Dependencies, volumes and upstreams are there, and who is waited for can be seen to be well."""
    whole = chart.load(FILE.read_text(encoding="utf-8"))[0]
    every = whole["services"]
    for name, service in every.items():
        for other, how in service.get("depends_on", {}).items():
            if other not in every:
                yield f"{name} waits for {other}, which is not there"
            elif how["condition"] == "service_healthy" and "healthcheck" not in every[other]:
                yield f"{name} waits for the health of {other}, which nobody checks"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source[0] == ".":
                if not (FILE.parent / source).is_file():
                    yield f"{name}: there is no {source}"
            elif source[0] != "/" and source not in whole["volumes"]:
                yield f"{name}: there is no volume {source}"
        addresses = [value for key, value in (service.get("environment") or {}).items() if key.endswith(("_UPSTREAMS", "_BROKERS"))]
        for host in (address.split(":")[0] for address in addresses):
            if host != "127.0.0.1" and host not in every:
                yield f"{name}: there is no {host}"


def containerfile() -> Iterator[str]:
    """The image is built by the toolchain of the checkout, from files that are there, and runs as nobody in particular."""
    text = CONTAINERFILE.read_text(encoding="utf-8")
    (toolchain,) = re.findall(r'channel = "([0-9.]+)"', (chart.REPO / "rust-toolchain.toml").read_text(encoding="utf-8"))
    if f"RUSTUP_TOOLCHAIN={toolchain}\n" not in text or f"FROM rust:{toolchain.rsplit('.', 1)[0]}-" not in text:
        yield f"it does not build with Rust {toolchain}"
    if "\nUSER 65532:65532\n" not in text.rsplit("\nFROM ", 1)[-1]:
        yield "its last stage does not run as 65532"
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        yield from (f"there is no {source}" for source in line.split() if not (chart.REPO / source).exists())
    profile = (chart.REPO / "Cargo.toml").read_text(encoding="utf-8")
    for name in re.findall(r"--profile (\w+)", text):
        if f"[profile.{name}]" not in profile:
            yield f"there is no profile {name}"
