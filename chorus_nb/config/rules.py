"""What no sandbox gets, whoever asks for it: each refusal names the rule that it goes by.

There is no option that turns a rule off. Who needs what a rule forbids needs no sandbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import PolicyRefusedError


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule, and why it is one.

    Attributes
    ----------
    name : str
        As messages and documents call it.
    why : str
        What would become of the sandbox without it, as the second half of a sentence.
    """

    name: str
    why: str

    def refusal(self, what: str, next_step: str) -> PolicyRefusedError:
        """Return the error that refuses ``what``, the first words of a sentence."""
        return PolicyRefusedError(
            f"{what} is refused by the rule {self.name!r}: {self.why}.", next_step=next_step, rule=self.name
        )


NO_PRIVILEGED_MODE = Rule("no privileged mode", "it gives the code every device and capability of this machine")
NO_HOST_NAMESPACE = Rule("no host namespace", "the code would see and reach this machine's own, not the sandbox's")
NO_ENGINE_SOCKET = Rule("no engine socket", "whoever can talk to an engine can start a container without any lock")
NO_SYSTEM_FOLDER = Rule("no system folder", "it holds configuration, secrets, devices or sockets of this machine")
NO_HOME_FOLDER = Rule("no home folder", "it holds keys, tokens and settings that a repository does not")
NO_WAY_OUT = Rule("no capability that leads out", "with it the code can leave the sandbox or undo its limits")
NO_HOST_DEVICE = Rule("no device that leads out", "through it the code reaches this machine's disks, memory or people")
NO_KERNEL_FOLDER = Rule(
    "no mount over the kernel's folders", "the engine's locks in /proc, /sys and /dev would be covered"
)

NO_HOST_VOLUME = Rule("no folder of this machine as a volume", "a volume is the engine's own, and outlives the sandbox")

RULES = (
    NO_PRIVILEGED_MODE,
    NO_HOST_NAMESPACE,
    NO_ENGINE_SOCKET,
    NO_SYSTEM_FOLDER,
    NO_HOME_FOLDER,
    NO_WAY_OUT,
    NO_HOST_DEVICE,
    NO_KERNEL_FOLDER,
    NO_HOST_VOLUME,
)
"""Every rule there is."""

REFUSED: Mapping[str, Rule] = {
    "privileged": NO_PRIVILEGED_MODE,
    **dict.fromkeys(("pid", "pid_mode", "ipc", "ipc_mode", "uts", "uts_mode", "cgroupns"), NO_HOST_NAMESPACE),
}
"""Options of Docker that a sandbox does not have, because what they could be set to is refused."""

_HOST_VALUES = ("network", "userns")


def refused_option(name: str) -> PolicyRefusedError:
    """Return what to raise where somebody asks for one of :data:`REFUSED`, with whatever value."""
    return REFUSED[name].refusal(f"The option {name!r}", "Leave it out.")


def refuse_outright(option: str, value: object) -> None:
    """Raise ``PolicyRefusedError`` where this value of an option is never given."""
    if option in _HOST_VALUES and str(value).strip().lower() == "host":
        raise NO_HOST_NAMESPACE.refusal(f"{option}='host'", "Leave it out.")
