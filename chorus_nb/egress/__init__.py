"""The network by the pipe, on the host's side: what a sandbox asks for is checked here, and dialled from here.

The sandbox has no interface but loopback. A proxy in it (:mod:`chorus_nb.agent.proxy`) turns connections into messages;
:class:`Egress` takes them. Everything in them is hostile: a number nobody opened, more bytes than there was credit for,
more connections than there may be end the sandbox.

What is checked is the name, against the allow-list, and then the address that it leads to here
(:mod:`chorus_nb.config.hosts`); that address is the one that is dialled, so no second answer of a name server counts.
What is *not* checked is what travels: a server that is allowed, and that has several sites or passes requests on, can
be asked for any of them.
"""

from .refusals import denied
from .refusals import notice as egress_notice
from .relay import Egress
from .traffic import HostTraffic

__all__ = ["Egress", "HostTraffic", "denied", "egress_notice"]
