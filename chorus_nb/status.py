"""Sessions in words: what ``%sandbox status``, ``list`` and ``config`` print."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from .egress import HostTraffic
from .errors import ChorusError
from .session import Session
from .settings import NAMES, Settings


def describe(session: Session) -> str:
    """Return everything about one session, a line each."""
    config, limits = session.config, session.config.limits
    facts = [
        ("session", session.name),
        ("state", session.state),
        ("up", _duration(session.uptime_s)),
        ("image", config.image),
        ("repository", _repository(session)),
        ("network", f"{config.network.mode} {config.option_text('allow') if config.network.allow else ''}".strip()),
        *_traffic(session.egress.traffic),
        *_git(session),
    ]
    if session.info:
        info = session.info
        facts += [("python", info.python_version or "none: --lang sh only"), ("user", f"{info.uid}:{info.gid}")]
    if session.state in ("idle", "busy"):
        sample = session.usage()
        facts += [
            ("memory", f"{_mib(sample.memory_bytes)} of {_mib(limits.memory_bytes)}"),
            ("processes", f"{sample.pids} of {limits.pids}"),
            ("cpu", f"{sample.cpu_time_s:.2f} s used, at most {limits.cpus:g} CPUs"),
            ("disk", f"{_mib(sample.disk_read_bytes)} read, {_mib(sample.disk_write_bytes)} written"),
        ]
    else:
        allowed = f"{_mib(limits.memory_bytes)}, {limits.cpus:g} CPUs, {limits.pids} processes"
        facts.append(("limits", allowed))
    return "\n\n".join([table([(name and f"{name}:", value) for name, value in facts]), *_controls(session)])


def _repository(session: Session) -> str:
    try:
        return f"{session.repository} ({_mode(session)})" if session.repository else "none"
    except ChorusError as error:  # It may be gone since the session started.
        return visible(error.message)


def _mode(session: Session) -> str:
    """Say how it sees the repository, and why a view of its own is a copy."""
    why = visible(session.view.why_copied)
    return f"{session.config.repository.mode}{f', as a copy: {why}' if why else ''}"


def _controls(session: Session) -> Iterator[str]:
    """Yield the table of what was asked for and what is in force; nothing before the start, or without isolation."""
    if session.controls:
        head = ("CONTROL", "REQUESTED", "ENFORCED")
        yield table([head, *((each.name, each.requested, each.enforced) for each in session.controls)])


def _traffic(traffic: Sequence[HostTraffic]) -> list[tuple[str, str]]:
    """Return a line for each host, under one heading."""
    lines = [f"{each.name} {_exchanged(each)}" for each in traffic]
    return [("traffic" if number == 0 else "", line) for number, line in enumerate(lines)]


def _git(session: Session) -> Iterator[tuple[str, str]]:
    """Yield what does not work with git there, and whose credentials it was given."""
    yield from (("git" if number == 0 else "", visible(note)) for number, note in enumerate(session.git_notes))
    for number, each in enumerate(session.credentials.counts if session.credentials else ()):
        text = f"{each.host}: handed over {_times(each.handed_over)}, not given {_times(each.not_given)}"
        yield "git credentials" if number == 0 else "", text


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _exchanged(each: HostTraffic) -> str:
    refused = f"refused {_times(each.refused)}, as it {each.rule}" if each.refused else ""
    if refused and not each.sent_bytes and not each.received_bytes:
        return refused
    return f"{each.sent_bytes} bytes sent, {each.received_bytes} received" + (refused and f"; {refused}")


def list_sessions(sessions: Sequence[Session]) -> str:
    """Return one line per session."""
    if not sessions:
        return "There are no sessions yet. A %%sandbox cell starts one."
    head = ("NAME", "STATE", "UP", "IMAGE", "MEMORY", "CPUS", "REPOSITORY")
    return table([head, *(_row(session) for session in sessions)])


def settings_table(settings: Settings) -> str:
    """Return every option with its value, and where that comes from."""
    rows = [(name, settings.text(name), settings.source(name).label) for name in ("profile", *NAMES)]
    return table([("OPTION", "VALUE", "FROM"), *([visible(cell) for cell in row] for row in rows)])


def visible(text: str) -> str:
    """Return text with all that a terminal would act on, or not show, written as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text)


def table(rows: Iterable[Sequence[str]]) -> str:
    """Return rows of text with their columns aligned."""
    rows = list(rows)
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _row(session: Session) -> tuple[str, ...]:
    config = session.config
    return (
        session.name,
        session.state,
        _duration(session.uptime_s),
        config.image,
        _mib(config.limits.memory_bytes),
        f"{config.limits.cpus:g}",
        config.repository.mode,
    )


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MiB"
