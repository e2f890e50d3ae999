"""What the tests know of Avro without our codec: the schema files, the fingerprint, the single-object encoding.

The Parsing Canonical Form and CRC-64-AVRO are written down here after the Avro specification, so that a mistake in the
library that our codec uses shows as a difference. Datums themselves are fastavro's.
"""

import hashlib
import io
import json
from functools import cache
from pathlib import Path

import fastavro

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
PRIMITIVES = {"null", "boolean", "int", "long", "float", "double", "bytes", "string"}
# the order of a schema's attributes in canonical form
ORDER = ["name", "type", "fields", "symbols", "items", "values", "size"]


def canonical(schema, namespace=""):
    """A schema in Parsing Canonical Form, as JSON text without white space."""
    if isinstance(schema, str):
        name = schema if schema in PRIMITIVES or "." in schema or not namespace else f"{namespace}.{schema}"
        return json.dumps(name, ensure_ascii=False)
    if isinstance(schema, list):
        return "[" + ",".join(canonical(branch, namespace) for branch in schema) + "]"
    kind = schema["type"]
    if isinstance(kind, str) and kind in PRIMITIVES:
        return json.dumps(kind)
    if isinstance(kind, (dict, list)):
        return canonical(kind, namespace)
    parts = dict(schema)
    if "name" in parts:
        namespace = parts.get("namespace", namespace)
        full = parts["name"] if "." in parts["name"] or not namespace else f"{namespace}.{parts['name']}"
        namespace, parts["name"] = full.rpartition(".")[0], full
    text = []
    for key in ORDER:
        if key not in parts:
            continue
        value = parts[key]
        if key == "fields":
            fields = (
                '{"name":%s,"type":%s}' % (json.dumps(f["name"]), canonical(f["type"], namespace)) for f in value
            )
            value = "[" + ",".join(fields) + "]"
        elif key in ("items", "values"):
            value = canonical(value, namespace)
        else:
            value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
        text.append(f'"{key}":{value}')
    return "{" + ",".join(text) + "}"


EMPTY = 0xC15D213AA4D7A795


def _table():
    def entry(value):
        for _ in range(8):
            value = (value >> 1) ^ (EMPTY & -(value & 1))
        return value

    return [entry(value) for value in range(256)]


_TABLE = _table()


def crc64_avro(data):
    """The Rabin fingerprint of bytes."""
    crc = EMPTY
    for byte in data:
        crc = (crc >> 8) ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def _without_logical_types(schema):
    """Times stay the numbers they are on the wire."""
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    if isinstance(schema, list):
        return [_without_logical_types(branch) for branch in schema]
    return schema


@cache
def schema_json(record):
    return json.loads((SCHEMAS / "avro" / f"{record}.avsc").read_text())


@cache
def schema(record):
    return fastavro.parse_schema(_without_logical_types(schema_json(record)))


@cache
def header(record):
    """What stands in front of a record in single-object encoding."""
    fingerprint = crc64_avro(canonical(schema_json(record)).encode())
    return b"\xc3\x01" + fingerprint.to_bytes(8, "little")


def write_datum(record, value):
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema(record), value)
    return out.getvalue()


def encode(record, value):
    return header(record) + write_datum(record, value)


def layout_id(layout):
    """The id that a layout has to have; computed as its schema says."""
    # one byte is the id 0; the rest is the layout in Avro
    series = write_datum("layout", {"layout_id": 0, "layout": layout})[1:]
    return int.from_bytes(hashlib.sha256(series).digest()[:8], "big", signed=True) or 1


def read_datum(record, datum):
    source = io.BytesIO(datum)
    value = fastavro.schemaless_reader(source, schema(record), None)
    left = len(datum) - source.tell()
    if left:
        raise ValueError(f"{left} bytes left over")
    return value


def resolve(record, version, datum):
    """A datum of an older version, as the current one has it."""
    writer = fastavro.parse_schema(_without_logical_types(schema_json(f"history/{record}.{version}")))
    return fastavro.schemaless_reader(io.BytesIO(datum), writer, schema(record))


def decode(record, data):
    """A record in single-object encoding, as the topics carry it."""
    expected = header(record)
    if data[:10] != expected:
        raise ValueError(f"{record}: header is {data[:10].hex()}, expected {expected.hex()}")
    return read_datum(record, data[10:])
