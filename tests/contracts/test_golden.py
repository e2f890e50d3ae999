"""A foreign implementation of Avro reads our golden files and finds what their JSON twins say, and writes the same bytes."""

import json
import struct
from pathlib import Path

import fastavro
import pytest

import avro_contract as contract

FIXTURES = contract.SCHEMAS / "fixtures"
CASES = sorted(FIXTURES.glob("*/*.json"))
RECORDS = sorted(path.stem for path in (contract.SCHEMAS / "avro").glob("*.avsc"))


def test_every_record_has_golden_files():
    assert sorted({case.parent.name for case in CASES}) == RECORDS
    for case in CASES:
        assert case.with_suffix(".avro").is_file() and case.with_suffix(".confluent").is_file(), case


@pytest.mark.parametrize("record", RECORDS)
def test_the_fingerprint_is_the_one_that_others_compute(record):
    theirs = fastavro.schema.fingerprint(
        fastavro.schema.to_parsing_canonical_form(contract.schema_json(record)), "CRC-64-AVRO"
    )
    # fastavro gives the hexadecimal digits of the little-endian bytes
    assert contract.header(record)[2:].hex() == theirs


def test_the_fingerprint_of_a_known_schema():
    # from the Avro specification's test data: the fingerprint of "int"
    assert contract.crc64_avro(b'"int"') == 0x7275D51A3F395C8F


def twin(value):
    """How a value of fastavro stands in the JSON twin: absent is null."""
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, dict):
        return {key: twin(part) for key, part in value.items()}
    if isinstance(value, list):
        return [twin(part) for part in value]
    return value


def bits(value):
    """Numbers by their bits: 0.0 is not -0.0, and 1 is not 1.0."""
    if isinstance(value, float):
        return struct.pack("<d", value).hex()
    if isinstance(value, dict):
        return {key: bits(part) for key, part in value.items()}
    if isinstance(value, list):
        return [bits(part) for part in value]
    return value


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_golden_file(case: Path):
    record = case.parent.name
    golden = case.with_suffix(".avro").read_bytes()
    expected = json.loads(case.read_text())

    value = contract.decode(record, golden)
    assert bits(twin(value)) == bits(expected)

    confluent = case.with_suffix(".confluent").read_bytes()
    assert confluent[:5] == b"\x00" + (42).to_bytes(4, "big")
    assert confluent[5:] == golden[10:]

    # arrays and maps may be cut into blocks freely: value-equal always, byte-equal with one block each
    written = contract.encode(record, value)
    assert bits(twin(contract.decode(record, written))) == bits(expected)
    assert written == golden


WRITTEN_AS_JSON = [case for case in CASES if case.parent.name in ("alert", "anomaly")]


@pytest.mark.parametrize("case", WRITTEN_AS_JSON, ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_what_is_written_as_json_is_a_value_of_the_schema(case: Path):
    """Whoever asks for alerts as JSON gets the members of the schema, all of them, in its order; fastavro takes them as they are."""
    record = case.parent.name
    value = json.loads(case.read_text())
    assert list(value) == [field["name"] for field in contract.schema_json(record)["fields"]]
    assert fastavro.validate(value, contract.schema(record), strict=True)
    assert contract.encode(record, value) == case.with_suffix(".avro").read_bytes()


OLDER = sorted(FIXTURES.glob("history/*/*.json"))


@pytest.mark.parametrize("case", OLDER, ids=lambda case: f"{case.parent.name}/{case.stem}")
def test_what_an_older_version_wrote_is_resolved(case: Path):
    """As a consumer with the current schema sees it: what was added has its default."""
    record, _, version = case.parent.name.rpartition(".")
    golden = case.with_suffix(".avro").read_bytes()
    written_by = contract.schema_json(f"history/{record}.{version}")
    fingerprint = contract.crc64_avro(contract.canonical(written_by).encode())
    assert golden[:10] == b"\xc3\x01" + fingerprint.to_bytes(8, "little")

    value = contract.resolve(record, int(version), golden[10:])
    assert value.pop("histograms") == []
    assert bits(twin(value)) == bits(json.loads(case.read_text()))


def test_every_older_version_has_golden_files():
    versions = {path.stem for path in (contract.SCHEMAS / "avro/history").glob("*.avsc")}
    newest = {max(v for v in versions if v.rpartition(".")[0] == record) for record in RECORDS}
    assert {case.parent.name for case in OLDER} == versions - newest


def test_a_changed_byte_is_noticed():
    golden = bytearray((FIXTURES / "alert/firing.avro").read_bytes())
    golden[2] ^= 1
    with pytest.raises(ValueError, match="header"):
        contract.decode("alert", bytes(golden))
    golden[2] ^= 1
    with pytest.raises(ValueError, match="left over"):
        contract.decode("alert", bytes(golden) + b"\x00")
