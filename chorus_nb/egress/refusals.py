"""What a user is told of connections that the allow-list did not let through."""

from __future__ import annotations

from collections.abc import Sequence

from ..config.hosts import DEFAULT_PORTS
from ..errors import EgressDeniedError
from .traffic import OTHERS, HostTraffic

_MAX_NAMED = 5


def refused(traffic: Sequence[HostTraffic]) -> list[HostTraffic]:
    """Return the hosts that were refused."""
    return [each for each in traffic if each.refused]


def denied(traffic: Sequence[HostTraffic], traceback: list[str]) -> EgressDeniedError | None:
    """Return what a cell that failed is to raise where connections of it were refused; None where none were.

    Parameters
    ----------
    traffic : sequence of HostTraffic
        Of the cell.
    traceback : list of str
        Of its own exception, which is shown above.
    """
    found = refused(traffic)
    if not found:
        return None
    return EgressDeniedError(
        "EgressDeniedError", _sentences(found), traceback, hosts=tuple((each.host, each.port) for each in found)
    )


def notice(traffic: Sequence[HostTraffic]) -> str:
    """Return what to print below the output of a cell that did not fail; empty where nothing was refused."""
    found = refused(traffic)
    return f"[sandbox] {_sentences(found)}\n" if found else ""


def _sentences(found: list[HostTraffic]) -> str:
    named = [f"{each.name}, which {each.rule}" for each in found[:_MAX_NAMED]]
    more = f"; and {len(found) - _MAX_NAMED} more" if len(found) > _MAX_NAMED else ""
    return f"The network of this sandbox refused {'; '.join(named)}{more}. {_cure(found)}"


def _cure(found: list[HostTraffic]) -> str:
    unlisted = [each for each in found if each.rule.startswith("is not on") and (each.host, each.port) != OTHERS]
    if unlisted:
        first = unlisted[0]
        host = first.name if first.port not in DEFAULT_PORTS else first.name.removesuffix(f":{first.port}")
        return f"To let it through, add --allow {host} and make the session anew with --fresh."
    if any(each.rule.startswith("leads to") for each in found):
        return "To let it through, allow that address as well; the program was told which one it is."
    return "A host is a name such as example.org, or an IP address."
