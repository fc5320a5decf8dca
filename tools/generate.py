"""Makes what is generated from the event catalog: JSON Schemas, AsyncAPI 3, topic pages.

python -m tools.generate            # write docs/generated
python -m tools.generate --check    # exit 1 when something there is not fresh
"""

import argparse
import inspect
import sys
from pathlib import Path
from typing import Any

import msgspec
import orjson

from shared.events import topics
from shared.events.catalog import EVENTS
from shared.events.event import Event

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "generated"
SCHEMA_BASE = "https://json-schema.org/draft/2020-12/schema"

HEADERS: dict[str, Any] = {
    "type": "object",
    "description": "CloudEvents 1.0 attributes, Kafka binding, binary mode",
    "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_subject", "ce_time", "ce_sequence"],
    "properties": {
        "ce_specversion": {"type": "string", "const": "1.0"},
        "ce_id": {"type": "string", "description": "UUIDv7"},
        "ce_type": {"type": "string"},
        "ce_source": {"type": "string", "description": "/<platform>/<service>"},
        "ce_subject": {"type": "string", "description": "aggregate id; also the record's key"},
        "ce_time": {"type": "string", "format": "date-time", "description": "business instant of the fact"},
        "ce_sequence": {"type": "string", "description": "1, 2, 3 … within the aggregate, given by its owner"},
        "ce_traceparent": {"type": "string", "description": "W3C trace context"},
        "content-type": {"type": "string", "const": "application/json"},
    },
}


def _json(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


def _words(kind: type[Event]) -> str:
    return inspect.cleandoc(kind.__doc__ or "")


def schemas() -> dict[str, bytes]:
    """One self-contained JSON Schema (2020-12) per event type."""
    files: dict[str, bytes] = {}
    for name, kind in sorted(EVENTS.items()):
        (root,), components = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
        own = components.pop(kind.__name__)
        files[f"schemas/{name}.json"] = _json(
            {
                "$schema": SCHEMA_BASE,
                "$id": f"urn:sushu:event:{name}",
                **own,
                "title": name,
                "description": _words(kind),
                "$defs": components,
            }
        )
        assert root["$ref"].endswith(kind.__name__)
    return files


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3.0 document of all topics."""
    _, components = msgspec.json.schema_components(EVENTS.values(), ref_template="#/components/schemas/{name}")
    messages = {
        name: {
            "name": name,
            "title": name,
            "summary": _words(kind),
            "contentType": "application/json",
            "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
            "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
            "bindings": {"kafka": {"key": {"type": "string"}, "bindingVersion": "0.5.0"}},
        }
        for name, kind in sorted(EVENTS.items())
    }
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for topic in topics.load().values():
        names = [name for name, kind in sorted(EVENTS.items()) if kind.topic in (topic.name, topic.carries)]
        identifier = topic.name.replace(".", "-")
        channels[identifier] = {
            "address": topic.name,
            "title": topic.title,
            "description": f"Key: {topic.key}. Owner: {topic.owner}.",
            "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in names},
            "bindings": {"kafka": {"topic": topic.name, "partitions": topic.partitions, "bindingVersion": "0.5.0"}},
        }
        for action, services in (("send", topic.producers), ("receive", topic.consumers)):
            for service in services:
                operations[f"{service}-{action}-{identifier}"] = {
                    "action": action,
                    "channel": {"$ref": f"#/channels/{identifier}"},
                    "summary": f"{service} {'publishes' if action == 'send' else 'reads'} {topic.name}",
                    "messages": [{"$ref": f"#/channels/{identifier}/messages/{name}"} for name in names],
                }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Sushu 诉枢 events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 (binary mode) on Apache Kafka or on the embedded log.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": {"CloudEventHeaders": HEADERS, **components}},
    }


def topic_page() -> str:
    """All topics and their event types as one Markdown page."""
    lines = [
        "# Topics",
        "",
        "Generated from `shared/events/topics/*.yaml` and `shared/events/catalog/` by `make generate`.",
        "",
    ]
    for topic in topics.load().values():
        journal = "the journal there" if topic.carries else "the journal"
        lines += [
            f"## {topic.name}",
            "",
            f"{topic.title}. Key: {topic.key}. Owner: `{topic.owner}`. Partitions: {topic.partitions}. "
            f"Kept {topic.retention_days} days ({journal} keeps every event for ever).",
            "",
            f"Read by: {', '.join(f'`{service}`' for service in topic.consumers)}.",
            "",
            "| type | meaning | schema |",
            "|---|---|---|",
        ]
        for name, kind in sorted(EVENTS.items()):
            if kind.topic in (topic.name, topic.carries):
                words = " ".join(_words(kind).split())
                lines.append(f"| `{name}` | {words} | [schema](schemas/{name}.json) |")
        lines.append("")
    return "\n".join(lines)


def everything() -> dict[str, bytes]:
    """Path below docs/generated → content."""
    return {
        **schemas(),
        "asyncapi.json": _json(asyncapi()),
        "topics.md": topic_page().encode(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something is not fresh")
    check = parser.parse_args().check
    wanted = everything()
    present = {str(path.relative_to(TARGET)): path for path in TARGET.rglob("*") if path.is_file()}
    stale = [name for name, body in wanted.items() if name not in present or present[name].read_bytes() != body]
    gone = sorted(set(present) - set(wanted))
    if check:
        if stale or gone:
            print(f"not fresh: {', '.join(stale + gone)}; run `make generate` and commit docs/generated")
            sys.exit(1)
        print(f"{len(wanted)} generated files are fresh")
        return
    for name in stale:
        path = TARGET / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[name])
    for name in gone:
        present[name].unlink()
    print(f"{len(stale)} written, {len(gone)} removed, {len(wanted)} in all")


if __name__ == "__main__":
    main()
