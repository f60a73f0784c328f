"""What the README shows is what happens: its Python examples run, against the real engine."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from chorus_nb._extension import load, unload
from chorus_nb.config import OPTIONS

pytestmark = pytest.mark.docker

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def _section(title: str) -> str:
    return README.partition(f"\n## {title}")[2].partition("\n## ")[0]


@pytest.mark.usefixtures("docker_engine")
def test_python_examples_give_what_they_show() -> None:
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", README, re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, "README.md", "README.md", 0)
    assert len(test.examples) > 5
    report: list[str] = []
    results = doctest.DocTestRunner(verbose=False).run(test, out=report.append)
    assert results.failed == 0, "".join(report)
