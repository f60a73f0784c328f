"""``chorus-nb``: the command line. Each subcommand declares its options and says which function does it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import config_command, containers_command
from ._version import __version__
from .config_command import PRECEDENCE
from .engines.docker import DockerEngine
from .errors import ChorusError, ConfigurationError
from .options import add_policy_arguments, as_arguments, given
from .settings import DEFAULTS, Source, named_profile
from .status import visible

USAGE_ERROR = 2


def main(words: Sequence[str] | None = None) -> int:
    """Do what the words of the command line say; return the exit status."""
    arguments = _parser().parse_args(words)
    try:
        status: int = arguments.do(arguments)
    except ConfigurationError as error:
        print(f"chorus-nb: {_lines(error)}", file=sys.stderr)
        return USAGE_ERROR
    except ChorusError as error:
        print(f"chorus-nb: {type(error).__name__}: {_lines(error)}", file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"chorus-nb: {visible(str(error.filename))}: {error.strerror}.", file=sys.stderr)
        return USAGE_ERROR
    return status


def _lines(error: ChorusError) -> str:
    return "\n".join(visible(line) for line in str(error).splitlines())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="chorus-nb", description="Run notebooks where they can do no harm.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"chorus-nb {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _declare_run(commands.add_parser("run", help="execute a notebook in a sandbox", allow_abbrev=False))
    kernel = commands.add_parser("kernel", help="the Jupyter kernel whose every cell runs in a sandbox")
    actions = kernel.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _declare_kernel_install(
        actions.add_parser("install", help="make it known to Jupyter as 'Python 3 (sandbox)'", allow_abbrev=False)
    )
    _declare_doctor(commands.add_parser("doctor", help="look for what is wrong, and say the cure", allow_abbrev=False))
    ps = commands.add_parser("ps", help="list the sandboxes of all notebooks")
    ps.set_defaults(do=_on_engine(containers_command.ps))
    prune = commands.add_parser("prune", help="remove what a crash has left: containers without owner, unused images")
    prune.add_argument("--volumes", action="store_true", help="also the volumes of --volume that nothing uses")
    prune.set_defaults(do=lambda arguments: containers_command.prune(DockerEngine(), arguments.volumes))
    _declare_config(
        commands.add_parser(
            "config",
            help="every option with its value here, and where it comes from",
            epilog=PRECEDENCE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    return parser


def _declare_run(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Execute a notebook from top to bottom in a sandbox. Exit status: 0; 1 where a cell failed, which is named; "
        "2 where the command is wrong; 130 where it was interrupted."
    )
    parser.usage = "%(prog)s [options] NB.ipynb"
    parser.add_argument("notebook", metavar="NB.ipynb", help="the notebook; it is not changed")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "-o", "--out", metavar="OUT", help="where to write it with its outputs: a file or a folder; "
        "NB.executed.ipynb beside it when left out",
    )  # fmt: skip
    where.add_argument("--inplace", action="store_true", help="write the outputs into the notebook itself")
    parser.add_argument("--allow-errors", action="store_true", help="go on after a cell that fails")
    add_policy_arguments(parser)
    parser.set_defaults(do=_run)


def _declare_kernel_install(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Install the kernelspec for the whole system, or where one of the first three options says. Policy options are "
        "written into it: they hold for every notebook on that kernel. To remove it: jupyter kernelspec remove NAME."
    )
    parser.usage = "%(prog)s [options]"
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--user", action="store_true", dest="for_you", help="for you alone")
    where.add_argument(
        "--sys-prefix", action="store_const", const=sys.prefix, dest="prefix", help="into this Python environment"
    )
    where.add_argument("--prefix", metavar="FOLDER", help="below this folder")
    parser.add_argument("--name", default="chorus-nb", help="the kernelspec's name; chorus-nb when left out")
    parser.add_argument("--display-name", metavar="TEXT", help="what Jupyter shows")
    # --user has meant something else there for as long as there have been kernelspecs.
    add_policy_arguments(parser, leave_out=("user",))
    parser.set_defaults(do=_install_kernel)


def _declare_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Look at this Python, the engine and the configuration here, start one sandbox, and print what is wrong, the "
        "cure, and what was requested of the sandbox beside what is enforced. Exit status: 0 where sandboxes work, "
        "also with warnings; 1 where they do not."
    )
    parser.add_argument("--json", action="store_true", help="one JSON document: ok, checks, controls, start_s")
    parser.set_defaults(do=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    from .doctor import examine, print_report

    examination = examine(DockerEngine())
    print_report(examination, as_json=arguments.json)
    return 0 if examination.ok else 1


def _on_engine(command: Callable[[DockerEngine], int]) -> Callable[[argparse.Namespace], int]:
    return lambda _: command(DockerEngine())


def _declare_config(parser: argparse.ArgumentParser) -> None:
    parser.description = "Print every option of a sandbox in this folder with its value, and where that comes from."
    parser.usage = "%(prog)s [options]\n       %(prog)s trust [PATH] [--yes]\n       %(prog)s untrust [PATH]"
    parser.add_argument("--notebook", type=Path, metavar="NB.ipynb", help="for this notebook, with what it says itself")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    add_policy_arguments(parser)
    parser.set_defaults(do=_show_config)
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", prog=parser.prog)
    what = "the file, a notebook, or a folder of the repository; the working directory when left out"
    trust = actions.add_parser("trust", help="let a file of a repository loosen its sandboxes", allow_abbrev=False)
    trust.add_argument("path", nargs="?", type=Path, default=Path(), metavar="PATH", help=what)
    trust.add_argument("--yes", action="store_true", help="do not ask")
    trust.set_defaults(do=lambda arguments: config_command.trust(arguments.path, yes=arguments.yes))
    untrust = actions.add_parser("untrust", help="take that back", allow_abbrev=False)
    untrust.add_argument("path", nargs="?", type=Path, default=Path(), metavar="PATH", help=what)
    untrust.set_defaults(do=lambda arguments: config_command.untrust(arguments.path))


def _show_config(arguments: argparse.Namespace) -> int:
    return config_command.show(given(arguments), arguments.notebook, as_json=arguments.json)


def _run(arguments: argparse.Namespace) -> int:
    from .run_notebook import run  # nbclient takes its time to import.

    _check(arguments)
    return run(
        arguments.notebook,
        out=arguments.out,
        inplace=arguments.inplace,
        allow_errors=arguments.allow_errors,
        options=as_arguments(arguments),
    )


def _install_kernel(arguments: argparse.Namespace) -> int:
    from . import kernelspec

    _check(arguments)
    own_name = arguments.name == kernelspec.KERNEL_NAME
    display_name = arguments.display_name or (kernelspec.DISPLAY_NAME if own_name else arguments.name)
    try:
        folder = kernelspec.install(
            arguments.name, display_name, as_arguments(arguments), user=arguments.for_you, prefix=arguments.prefix
        )
    except PermissionError as error:
        raise ConfigurationError(
            f"{error.filename}: this user may not write there.", next_step="Add --user or --sys-prefix."
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The kernelspec can't be installed: {error}.", next_step="Try --user, or --prefix with a folder of yours."
        ) from None
    print(f"Installed the kernelspec {arguments.name} ({display_name}) in {folder}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse now what the kernel would refuse later. Raises ``ConfigurationError``."""
    options = given(arguments)
    start = named_profile(options.pop("profile")) if "profile" in options else DEFAULTS
    start.changed(options, Source("typed"))
