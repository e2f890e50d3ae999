"""What is right in every output of the chart, however it is set.

In: the documents of one `helm template`. Out: complaints, one sentence each; none = right. Keeps: no check asks what the
values were; a check that looked at nothing complains.
"""

from collections.abc import Iterator

import kubernetes_validate

WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet")
# The oldest the chart claims (kubeVersion), and the newest the validator knows.
VERSIONS = ("1.25", kubernetes_validate.latest_version())


def name_of(doc: dict) -> str:
    return f"{doc['kind']}/{doc['metadata']['name']}"


def of_kind(docs: list[dict], *kinds: str) -> list[dict]:
    return [doc for doc in docs if doc["kind"] in kinds]


def pods(docs: list[dict]) -> Iterator[tuple[str, str, dict]]:
    """Name, component and template of everything that starts pods."""
    for doc in of_kind(docs, *WORKLOADS, "Job"):
        template = doc["spec"]["template"]
        yield name_of(doc), template["metadata"]["labels"]["app.kubernetes.io/component"], template


def valid(docs: list[dict]) -> Iterator[str]:
    """Kubernetes' own schemas accept it; of a foreign kind there is no schema here, so its parts are looked at."""
    for doc in docs:
        if doc["apiVersion"] == "monitoring.coreos.com/v1":
            ports = {port["name"] for service in of_kind(docs, "Service") for port in service["spec"]["ports"]}
            for endpoint in doc["spec"]["endpoints"]:
                if endpoint["port"] not in ports:
                    yield f"{name_of(doc)}: no Service has a port {endpoint['port']}"
            wanted = doc["spec"]["selector"]["matchLabels"].items()
            if not any(wanted <= service["metadata"]["labels"].items() for service in of_kind(docs, "Service")):
                yield f"{name_of(doc)}: it selects no Service"
            continue
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(doc, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                path = ".".join(map(str, error.path))
                yield f"{name_of(doc)}: Kubernetes {version}: {path}: {error.message.splitlines()[0][:200]}"


def unique(docs: list[dict]) -> Iterator[str]:
    names = [name_of(doc) for doc in docs]
    yield from (f"{name} is there twice" for name in sorted(set(names)) if names.count(name) > 1)
    yield from (f"{name} is longer than 63" for name in names if len(name.split("/")[1]) > 63)


def safe(docs: list[dict]) -> Iterator[str]:
    """Nobody is root, may become it, writes to the image, or holds a token; every container has its bounds."""
    seen = 0
    for name, component, template in pods(docs):
        spec = template["spec"]
        pod = spec.get("securityContext", {})
        if pod.get("runAsNonRoot") is not True or pod.get("seccompProfile") != {"type": "RuntimeDefault"}:
            yield f"{name}: the pod's securityContext is not runAsNonRoot with seccomp RuntimeDefault"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{name}: a token is mounted"
        if spec.get("enableServiceLinks") is not False:
            yield f"{name}: service links set variables named like settings"
        for key in ("hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{name}: {key}"
        host = bool(spec.get("hostNetwork")) or any("hostPath" in volume for volume in spec.get("volumes", []))
        if host != (component == "collector"):
            yield f"{name}: the host is for the collector alone"
        for container in spec["containers"] + spec.get("initContainers", []):
            seen += 1
            mine = container.get("securityContext", {})
            wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsNonRoot": True, "capabilities": {"drop": ["ALL"]}}
            if mine != wanted:
                yield f"{name}: securityContext of {container['name']} is {mine}"
            resources = container.get("resources", {})
            if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
                yield f"{name}: resources of {container['name']} are {resources}"
            yield from (
                f"{name}: {mount['mountPath']} may be written" for mount in container.get("volumeMounts", []) if mount.get("readOnly") is not True
            )
    if not seen:
        yield "there is no container"


def probed(docs: list[dict]) -> Iterator[str]:
    """Alive and ready are asked at the admin port; only the gateway stays in while the others are away."""
    for doc in of_kind(docs, *WORKLOADS):
        for container in doc["spec"]["template"]["spec"]["containers"]:
            ports = {port["name"] for port in container["ports"]}
            gateway = container["name"] == "gateway"
            wanted = {"livenessProbe": "/healthz", "readinessProbe": "/healthz" if gateway else "/readyz"}
            if gateway:
                wanted["startupProbe"] = "/readyz"
            for probe, path in wanted.items():
                get = container.get(probe, {}).get("httpGet")
                if get != {"path": path, "port": "admin"} or "admin" not in ports:
                    yield f"{name_of(doc)}: {probe} asks {get}, not {path} at admin"


def connected(docs: list[dict]) -> Iterator[str]:
    """Whatever names another object means one that is there: selectors, ports, ConfigMaps, accounts, Services."""
    templates = [(component, template) for _, component, template in pods(docs)]

    def selected(labels: dict) -> list[dict]:
        return [template for _, template in templates if labels.items() <= template["metadata"]["labels"].items()]

    for doc in of_kind(docs, "Service"):
        found = selected(doc["spec"]["selector"])
        for port in doc["spec"]["ports"]:
            ports = {p["name"] for template in found for c in template["spec"]["containers"] for p in c.get("ports", [])}
            if port["targetPort"] not in ports:
                yield f"{name_of(doc)}: no pod it selects has a port {port['targetPort']}"
    for doc in of_kind(docs, "PodDisruptionBudget"):
        if len(selected(doc["spec"]["selector"]["matchLabels"])) != 1:
            yield f"{name_of(doc)}: it is not for exactly one service"
    for doc in of_kind(docs, "NetworkPolicy"):
        found = selected(doc["spec"]["podSelector"]["matchLabels"])
        numbers = {p["containerPort"] for template in found for c in template["spec"]["containers"] for p in c.get("ports", [])}
        for rule in doc["spec"]["ingress"]:
            if not {port["port"] for port in rule["ports"]} <= numbers:
                yield f"{name_of(doc)}: it opens a port nobody has"
    for doc in of_kind(docs, *WORKLOADS):
        if len(selected(doc["spec"]["selector"]["matchLabels"])) != 1:
            yield f"{name_of(doc)}: its selector finds other pods than its own"
    services = {doc["metadata"]["name"]: doc["spec"] for doc in of_kind(docs, "Service")}
    for doc in of_kind(docs, "StatefulSet"):
        if services.get(doc["spec"]["serviceName"], {}).get("clusterIP") != "None":
            yield f"{name_of(doc)}: serviceName is no headless Service"
    for doc in of_kind(docs, "Ingress"):
        for path in (path for rule in doc["spec"]["rules"] for path in rule["http"]["paths"]):
            if path["backend"]["service"]["name"] not in services:
                yield f"{name_of(doc)}: there is no Service {path['backend']['service']['name']}"
    upstreams = [v for doc in of_kind(docs, "ConfigMap") for k, v in (doc.get("data") or {}).items() if k.endswith("_UPSTREAMS")]
    for upstream in upstreams:
        service, port = upstream.split(":")
        spec = services.get(service, {})
        if spec.get("clusterIP") != "None" or int(port) not in {p["port"] for p in spec["ports"]}:
            yield f"the gateway's upstream {upstream} is no headless Service"
    if len(upstreams) != 2:
        yield f"the gateway has {len(upstreams)} upstreams, not 2"


def environment(docs: list[dict], template: dict) -> dict[str, str | None]:
    """What the first container of a pod finds in its environment; None where a Secret or the cluster fills it in."""
    maps = {doc["metadata"]["name"]: doc.get("data") or {} for doc in of_kind(docs, "ConfigMap")}
    container = template["spec"]["containers"][0]
    found: dict[str, str | None] = {}
    for source in container.get("envFrom", []):
        found |= maps[source["configMapRef"]["name"]]
    for variable in container.get("env", []):
        found[variable["name"]] = variable.get("value")
    return found


def told(docs: list[dict], known: dict[str, set[str]], extra: dict[str, set[str]]) -> Iterator[str]:
    """Every variable is a setting of the service that gets it, but for those that the values added themselves."""
    for name, component, template in pods(docs):
        try:
            names = environment(docs, template).keys()
        except KeyError as error:
            yield f"{name}: there is no ConfigMap {error}"
            continue
        unknown = names - known[component] - extra.get(component, set())
        yield from (f"{name}: {variable} is no setting of {component}" for variable in sorted(unknown))
        if not names:
            yield f"{name}: it is told nothing"
