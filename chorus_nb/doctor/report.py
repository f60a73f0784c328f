"""An examination on the terminal, or as one JSON document."""

from __future__ import annotations

import json
from dataclasses import asdict

from ..status import table, visible
from .examine import Examination

_MARKS = {"ok": "ok", "warn": "warn", "fail": "FAIL"}


def print_report(examination: Examination, *, as_json: bool) -> None:
    """Print it."""
    print(json.dumps(_document(examination), indent=1) if as_json else _text(examination))


def _document(examination: Examination) -> dict[str, object]:
    """Return it with keys that stay from version to version."""
    controls = [
        {"name": each.name, "requested": each.requested, "enforced": each.enforced, "in_force": each.in_force}
        for each in examination.controls
    ]
    return {
        "ok": examination.ok,
        "checks": [asdict(check) for check in examination.checks],
        "controls": controls,
        "start_s": examination.start_s,
    }


def _text(examination: Examination) -> str:
    parts = [_checks(examination)]
    if examination.controls:
        rows = [(each.name, each.requested, each.enforced, _in_force(each.in_force)) for each in examination.controls]
        parts.append(table([("CONTROL", "REQUESTED", "ENFORCED", ""), *rows]))
    parts.append(_summary(examination))
    return "\n\n".join(parts)


def _checks(examination: Examination) -> str:
    rows = [(_MARKS[check.status], check.name, visible(check.found)) for check in examination.checks]
    lines = []
    for check, line in zip(examination.checks, table(rows).splitlines(), strict=True):
        lines.append(line)
        if check.cure:
            lines.append(f"      cure: {visible(check.cure)}")
    return "\n".join(lines)


def _in_force(in_force: bool) -> str:
    return "" if in_force else "NOT IN FORCE"


def _summary(examination: Examination) -> str:
    counts = {status: sum(check.status == status for check in examination.checks) for status in ("fail", "warn")}
    if not any(counts.values()):
        return "Nothing is wrong."
    verdict = "Sandboxes work here." if examination.ok else "Sandboxes do not work here."
    return f"{verdict} Problems: {counts['fail']}, warnings: {counts['warn']}."
