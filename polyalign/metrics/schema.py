"""The JSON schema of the evaluation report, docs/report.schema.json: `python -m polyalign.metrics.schema` writes it.

A test holds the file equal to what this module makes of `polyalign.metrics.report.Report`.
"""

import sys
from pathlib import Path
from typing import Any

from polyalign.files import dump_json, write_text
from polyalign.metrics.report import SCHEMA_VERSION, Report

SCHEMA_FILE = Path(__file__).resolve().parents[2] / "docs" / "report.schema.json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_DESCRIPTION = (
    "Report of `python -m polyalign evaluate` and of results/metrics/{cell}.json. The published key names are kept "
    "under `metrics`; every metric that does not apply is null and says why. docs/metrics.md explains the parts."
)


def report_schema() -> dict:
    """JSON schema of the report as it is written: keys by alias, every key of the model present."""
    schema = _without_titles(Report.model_json_schema(by_alias=True, mode="serialization"))
    title = f"PolyAlign evaluation report, schema version {SCHEMA_VERSION}"
    return {"$schema": DIALECT, **schema, "title": title, "description": _DESCRIPTION}


def _without_titles(part: Any) -> Any:
    """The schema without the titles that repeat every key's name."""
    if isinstance(part, list):
        return [_without_titles(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {key: _without_titles(one) for key, one in part.items() if key != "title" or isinstance(one, dict)}


def schema_text() -> str:
    """The schema as it stands in the file."""
    return dump_json(report_schema(), indent=2) + "\n"


def main() -> None:
    """Write the file."""
    write_text(SCHEMA_FILE, schema_text())
    print(SCHEMA_FILE, file=sys.stderr)


if __name__ == "__main__":
    main()
