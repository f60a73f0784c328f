"""Write the tables of docs/configuration.md from the declarations in the code: every option, and the profiles.

Without arguments it puts them into the page. With --check it changes nothing, and its exit status is 1 where the page
has others.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from chorus_nb.config import OPTIONS, SECTIONS, SandboxConfig, choices, meaning
from chorus_nb.config.option import free, same
from chorus_nb.settings.profiles import PROFILES, PURPOSES

PAGE = Path(__file__).parents[1] / "docs" / "configuration.md"
BEGIN, END = "<!-- generated: {} -->", "<!-- end of what is generated -->"
RULES = {free: "any value", same: "no other value"}
EXCEPTIONS = {"repo_path": "a folder inside it"}


def main(words: list[str]) -> int:
    """Do what the words say; return the exit status."""
    text = PAGE.read_text(encoding="utf-8")
    changed = text
    for name, rows in (("options", option_rows()), ("profiles", profile_rows())):
        changed = replaced(changed, name, rows)
    if words == ["--check"]:
        return int(changed != text)
    PAGE.write_text(changed, encoding="utf-8")
    return 0


def replaced(text: str, name: str, rows: Iterable[str]) -> str:
    """Return the page with rows in the place of that name."""
    begin = BEGIN.format(name)
    before, found, rest = text.partition(begin)
    if not found or END not in rest:
        raise SystemExit(f"{PAGE} has no place {begin} ... {END}")
    return f"{before}{begin}\n" + "\n".join(rows) + f"\n{END}{rest.partition(END)[2]}"


def option_rows() -> Iterator[str]:
    """Yield the tables of the options, one for each part of the configuration."""
    defaults = SandboxConfig()
    for section, names in SECTIONS.items():
        yield f"\n### {section.capitalize() or 'The sandbox'}\n"
        yield "| option | default | | takes | a repository may give |"
        yield "|---|---|---|---|---|"
        for name in names:
            option = OPTIONS[name]
            takes = (", ".join(f"`{each}`" for each in choices(name)) or option.allowed) + "; several" * option.many
            rule = EXCEPTIONS.get(name) or RULES.get(option.tighter, "tighter ones")
            yield row(f"`{name}`", f"`{defaults.option_text(name)}`", meaning(name), takes, rule)


def profile_rows() -> Iterator[str]:
    """Yield the table of the profiles."""
    yield "| profile | for | options |"
    yield "|---|---|---|"
    for name, options in PROFILES.items():
        variables = {"env": ", ".join(f"{key}={text}" for key, text in options.get("env", {}).items())}
        values = {**options, **variables} if "env" in options else options
        yield row(f"`{name}`", PURPOSES[name], ", ".join(f"`{key} = {value}`" for key, value in values.items()))


def row(*cells: str) -> str:
    """Return a row of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
