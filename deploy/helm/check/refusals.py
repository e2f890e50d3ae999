"""Values that must be refused, each with the words that tell the person what is wrong.

In: ci/minimal.yaml and one thing wrong with it. Out: a complaint where helm takes it, or refuses it for another reason.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

import chart


@dataclass(frozen=True)
class Refusal:
    what: str
    #: Values laid over ci/minimal.yaml, as YAML.
    values: str
    #: All of these are in what helm says.
    words: tuple[str, ...]
    base: str | None = "minimal"

    def complaints(self) -> Iterator[str]:
        arguments = ["-f", str(chart.CHART / f"ci/{self.base}.yaml")] if self.base else []
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(self.values)
            file.flush()
            result = chart.template(*arguments, "-f", file.name)
        if result.returncode == 0:
            yield "it was taken"
        yield from (f"it does not say `{words}` but: {result.stderr.strip()}" for words in self.words if words not in result.stderr)


UNKNOWN = "additional properties"

ALL = (
    Refusal("no values at all", "{}", ("/kafka/brokers", "minItems"), base=None),
    Refusal("unknown key", "kafak: {}", (UNKNOWN, "kafak")),
    Refusal("unknown key inside", "ingest: {replica: 3}", ("/ingest", UNKNOWN, "replica")),
    Refusal("unknown key deep inside", "sink: {resources: {limits: {ram: 1Gi}}}", (UNKNOWN, "ram")),
    Refusal("unknown setting", "sink: {settings: {TIDEWATCH_SINK_BATCH: 1}}", (UNKNOWN, "TIDEWATCH_SINK_BATCH")),
    Refusal("another service's setting", "sink: {settings: {TIDEWATCH_WINDOW_GRACE: 1s}}", (UNKNOWN, "TIDEWATCH_WINDOW_GRACE")),
    Refusal("replicas in words", "ingest: {replicas: two}", ("/ingest/replicas", "integer")),
    Refusal("half an instance", "ingest: {replicas: 1.5}", ("/ingest/replicas", "integer")),
    Refusal("fewer than none", "ingest: {replicas: -1}", ("/ingest/replicas", "minimum")),
    Refusal("yes for true", "topics: {create: 'yes'}", ("/topics/create", "boolean")),
    Refusal("duration without a unit", "sink: {settings: {TIDEWATCH_SINK_BATCH_AGE: '500'}}", ("TIDEWATCH_SINK_BATCH_AGE", "pattern")),
    Refusal("rate without a unit", "gateway: {settings: {TIDEWATCH_GATEWAY_RATE: '50'}}", ("TIDEWATCH_GATEWAY_RATE", "pattern")),
    Refusal("unknown security", "kafka: {security: tls}", ("/kafka/security", "sasl-ssl")),
    Refusal("unknown mechanism", "kafka: {sasl: {mechanism: GSSAPI}}", ("/kafka/sasl/mechanism", "SCRAM-SHA-512")),
    Refusal("broker without a port", "kafka: {brokers: [kafka]}", ("/kafka/brokers/0", "pattern")),
    Refusal("brokers in one string", "kafka: {brokers: 'kafka:9092'}", ("/kafka/brokers", "array")),
    Refusal("password in a URL", "postgresql: {url: 'postgres://a:secret@b/c'}", ("/postgresql/url", "pattern")),
    Refusal("root", "runAsUser: 0", ("/runAsUser", "minimum")),
    Refusal("drain longer than the pod has", "drainTimeout: 60s", ("/drainTimeout", "pattern")),
    Refusal("more replicas of a topic than Kafka takes", "topics: {replication: 12}", ("/topics/replication", "maximum")),
    Refusal("a key instead of its hash", "gateway: {keys: {secret: '', entries: [{name: a, role: admin, sha256: tw_a_1}]}}", ("sha256", "pattern")),
    Refusal("unknown role", f"gateway: {{keys: {{secret: '', entries: [{{name: a, role: root, sha256: {'a' * 64}}}]}}}}", ("role", "viewer")),
    Refusal("variable without a value", "sink: {extraEnv: [{name: A}]}", ("/sink/extraEnv/0", "oneOf")),
    Refusal("empty host of an Ingress", "ingress: {enabled: true}", ("/ingress", "/host", "minLength")),
    Refusal("tag with a space", "image: {tag: 'a b'}", ("/image/tag", "pattern")),
    Refusal("Alertmanager without http", "notify: {alertmanagers: ['alertmanager:9093']}", ("/notify/alertmanagers/0", "pattern")),
    Refusal("password in an Alertmanager's address", "notify: {alertmanagers: ['http://a:secret@b:9093']}", ("/notify/alertmanagers/0", "pattern")),
    Refusal("no PostgreSQL", "postgresql: {url: ''}", ("postgresql.url or postgresql.secret.name has to be set",)),
    Refusal("two PostgreSQLs", "postgresql: {secret: {name: a}}", ("postgresql.url and postgresql.secret.name are both set",)),
    Refusal("no Redis", "redis: {secret: {name: ''}}", ("redis.url or redis.secret.name has to be set",)),
    Refusal("no keys", "gateway: {keys: {secret: ''}}", ("gateway.keys.secret or gateway.keys.entries has to be set",)),
    Refusal("keys from two places", f"gateway: {{keys: {{entries: [{{name: a, role: admin, sha256: {'a' * 64}}}]}}}}", ("are both set",)),
    Refusal("two gateways without a common secret", "gateway: {replicas: 2}", ("gateway.sessionSecret.name",)),
    Refusal("SASL without a user", "kafka: {security: sasl-ssl}", ("kafka.security sasl-ssl needs kafka.sasl.secret",)),
    Refusal("a user without SASL", "kafka: {sasl: {secret: a}}", ("kafka.sasl.secret is set, but kafka.security is plaintext",)),
    Refusal("an authority without TLS", "kafka: {ca: {secret: a}}", ("kafka.ca.secret is set, but kafka.security is plaintext",)),
    Refusal("alerts in a form that there is not", "analyzer: {settings: {TIDEWATCH_ANALYZER_ALERTS_FORMAT: xml}}", ("/analyzer/settings/TIDEWATCH_ANALYZER_ALERTS_FORMAT",)),
    Refusal("rules that are no YAML", "analyzer: {rules: 'rules: ['}", ("analyzer.rules is no YAML",)),
    Refusal("rules without rules", "analyzer: {rules: 'rule: []'}", ("analyzer.rules has no list `rules`",)),
)
