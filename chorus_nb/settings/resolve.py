"""Who goes before whom: the one place that puts profiles, files and typed options together.

From the lowest to the highest:

1. the built-in defaults;
2. the user's configuration, or in place of it the profile that is typed: a profile is whole;
3. what the repository asks for, then what the notebook does: each may tighten what holds so far. One that the user has
   trusted may loosen it, too, but not a profile that is typed;
4. the options that are typed.

What comes with a repository is as untrusted as its code. An option that the user types is not looked at there at all.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..config import OPTIONS, unknown_option
from ..config.mounts import at_home
from ..config.option import free
from ..errors import ConfigurationError, PolicyLoosenedError
from ..options import flag
from ..repository import find_repository
from .files import Section, read_section, read_user_file, repository_section, user_file
from .profiles import PROFILES
from .trust import TrustStore, trust_file
from .values import NAMES, Settings, Source, no_looser

DEFAULTS = Settings()
"""The built-in defaults."""

_TYPED = Source("typed")

PassOver = Callable[[str, Settings], bool]
"""As of :meth:`Settings.tightened`."""


@dataclass(frozen=True, slots=True)
class UserConfiguration:
    """What the user's own file says."""

    section: Section
    options: Mapping[str, Any]
    profiles: Mapping[str, Mapping[str, Any]]

    def settings(self) -> Settings:
        """Return what holds where nothing is typed and no repository asks for anything."""
        source = Source(_tilde(self.section.path), str(self.section))
        options = dict(self.options)
        start = self.profile(options.pop("profile"), source) if "profile" in options else DEFAULTS
        return _put_in(start, options, source, self.section)

    def profile(self, name: Any, named_by: Source) -> Settings:
        """Return the built-in defaults with a profile put in. Raises ``ConfigurationError`` where there is none."""
        if not isinstance(name, str) or name not in self.profile_names:
            raise ConfigurationError(
                f"{named_by}: there is no profile {name!r}." if named_by.full else f"There is no profile {name!r}.",
                next_step=f"The profiles are {', '.join(self.profile_names)}.",
            )
        own = name in self.profiles
        options = self.profiles[name] if own else PROFILES[name]
        section = replace(self.section, options=options, place=f"[profiles.{name}]") if own else None
        settings = _put_in(DEFAULTS, options, Source(f"profile {name}"), section)
        return replace(settings, profile=name, sources={**settings.sources, "profile": named_by})

    @property
    def profile_names(self) -> list[str]:
        """The profiles there are."""
        return [*PROFILES, *self.profiles]


def user_configuration() -> UserConfiguration:
    """Read the user's configuration. Raises ``ConfigurationError`` where that can't be done."""
    section = read_user_file(user_file())
    options = dict(section.options)
    profiles = options.pop("profiles", {})
    if not isinstance(profiles, dict) or not all(isinstance(each, dict) for each in profiles.values()):
        raise ConfigurationError(f"{section}: a profile is a table: [profiles.NAME].", next_step="Mend the file.")
    if shipped := sorted(profiles.keys() & PROFILES.keys()):
        raise ConfigurationError(
            f"{section}: there is a profile {shipped[0]!r} already, and it means the same everywhere.",
            next_step="Give yours another name.",
        )
    return UserConfiguration(section, options, profiles)


def named_profile(name: str) -> Settings:
    """Return the built-in defaults with a profile put in; the user's file is read only for one that is not shipped."""
    user = UserConfiguration(Section(None, {}), {}, {}) if name in [*PROFILES] else user_configuration()
    return user.profile(name, _TYPED)


def resolve(
    folder: Path, options: Mapping[str, Any], notebook: Path | None = None, typed_as: Source = _TYPED
) -> Settings:
    """Return what holds for a notebook, and where each value comes from.

    Parameters
    ----------
    folder : Path
        Where the notebook is.
    options : mapping
        What the user typed: keys of :data:`chorus_nb.config.OPTIONS`, ``profile`` and ``gauge``.
    notebook : Path, optional
        Its file, where that is known.
    typed_as : Source
        What ``options`` are as a source.

    Raises
    ------
    PolicyLoosenedError
        Where a file that is not trusted would loosen.
    ConfigurationError
        For an option or a value that can't be had, and for a file that can't be read.
    """
    settings, repository = _of_user(folder, options)
    for section, trusted in _layers(repository, notebook):
        settings = _with_section(settings, section, options, trusted, repository)
    typed = {name: value for name, value in options.items() if name != "profile"}
    settings = settings.changed(typed, typed_as)
    refuse_open_configuration(settings, repository)
    return settings


def files_read(folder: Path, options: Mapping[str, Any], notebook: Path | None) -> list[tuple[Section, str]]:
    """Return the files that :func:`resolve` looks at, the lowest first, and what each may do."""
    user = user_configuration().section
    repository = _of_user(folder, options)[1]
    below = "is left out: a profile is typed" if "profile" in options else "is yours"
    states = [
        (section, "is trusted" if trusted else "may tighten") for section, trusted in _layers(repository, notebook)
    ]
    return [(section, state if section.options else "has no options") for section, state in [(user, below), *states]]


def _layers(repository: Path, notebook: Path | None) -> Iterator[tuple[Section, bool]]:
    """Yield what comes with a repository and a notebook, the lowest first, and whether it is trusted."""
    store = TrustStore()
    for section in (repository_section(repository), *([read_section(notebook)] if notebook else [])):
        yield section, store.trusts(section)


def loosened_by(section: Section, folder: Path) -> list[tuple[str, Settings, Settings]]:
    """Return each option that a file would loosen if it were trusted, with what holds without it and with it."""
    without, repository = _of_user(folder, {})
    trusted = _with_section(without, section, {}, True, repository)
    return [(name, without, trusted) for name in NAMES if not no_looser(name, trusted, without)]


def tighten(settings: Settings, options: Mapping[str, Any], what: str, folder: Path) -> Settings:
    """Return settings with options of untrusted code put in, which may only tighten them.

    Raises
    ------
    PolicyLoosenedError
        For the first option that would loosen them.
    """
    return _tightened(settings, Section(None, options, what), Source(what, own=False), folder, _never)


def _of_user(folder: Path, options: Mapping[str, Any]) -> tuple[Settings, Path]:
    """Return what holds before any file of the repository is looked at, and the repository."""
    user = user_configuration()
    settings = user.profile(options["profile"], _TYPED) if "profile" in options else user.settings()
    path = options.get("repo_path") or settings.config.repository.path
    return settings, Path(path).expanduser() if path else find_repository(folder)


def _with_section(
    settings: Settings, section: Section, typed: Mapping[str, Any], trusted: bool, repository: Path
) -> Settings:
    """Put in what a repository or a notebook asks for, but for what is typed."""
    source = Source(section.path.name if section.path else "", str(section), own=False)
    options = {name: value for name, value in section.options.items() if name not in typed or name == "profile"}
    section = replace(section, options=options)
    if trusted and "profile" not in typed:
        start = user_configuration().profile(options.pop("profile"), source) if "profile" in options else settings
        return _put_in(start, _at_home(options, repository), source, section)

    def pass_over(name: str, asked: Settings) -> bool:
        # Where the user's own word is tighter still, a file that asks for no more than the default does no harm.
        return trusted or (settings.source(name).own and no_looser(name, asked, DEFAULTS))

    return _tightened(settings, section, source, repository, pass_over)


def _tightened(settings: Settings, section: Section, source: Source, folder: Path, pass_over: PassOver) -> Settings:
    options = dict(section.options)
    profile = user_configuration().profile(options.pop("profile"), source) if "profile" in options else None
    if "repo_path" in options:
        options["repo_path"] = _inside(options["repo_path"], folder, section)
    _check(settings, options, source, section)
    # What stands beside a profile goes before it, so that the two are one question.
    of_profile = {name: value for name, value in _all_of(profile).items() if name not in options} if profile else {}
    named = f"profile {profile.profile!r}" if profile else ""

    def leave(name: str, asked: Settings) -> bool:
        return (name in of_profile and no_looser(name, asked, DEFAULTS)) or pass_over(name, asked)

    def refuse(name: str) -> PolicyLoosenedError:
        return _loosened(name, settings, section, named if name in of_profile else "")

    found = settings.tightened({**of_profile, **options}, source, leave, refuse)
    label = replace(source, label=f"{source.label}, {named}")
    relabelled = {name: label for name, each in found.sources.items() if each is source and name in of_profile}
    return replace(found, sources={**found.sources, **relabelled})


def _never(name: str, asked: Settings) -> bool:
    return False


def _all_of(profile: Settings) -> dict[str, Any]:
    """Return every value of a profile that is its own, or of which one can say that it is tight."""
    ordered = {name for name, option in OPTIONS.items() if option.tighter is not free}
    return {name: profile.value(name) for name in NAMES if name in ordered or name in profile.sources}


def _put_in(settings: Settings, options: Mapping[str, Any], source: Source, section: Section | None) -> Settings:
    if section is not None:
        _check(settings, options, source, section)
    return settings.changed(options, source)


def _check(settings: Settings, options: Mapping[str, Any], source: Source, section: Section) -> None:
    """Raise for what can't be had, with its place in the file."""
    for name in options:
        if name not in NAMES:
            raise _told_at(section, name, _no_option(name, section))
    try:
        settings.changed(options, source)
    except ConfigurationError as error:
        raise _told_at(section, _culprit(settings, options, source), error) from None


def _culprit(settings: Settings, options: Mapping[str, Any], source: Source) -> str:
    """Return the option that can't be had; nothing where it is two that don't go together."""
    for name, value in options.items():
        try:
            settings.changed({name: value}, source)
        except ConfigurationError:
            return name
    return ""


def _no_option(name: str, section: Section) -> ConfigurationError:
    if name == "profiles":
        return ConfigurationError(
            "a repository has no profiles.", next_step=f"Profiles are your own: write them into {user_file()}."
        )
    if name == "profile":
        return ConfigurationError("a profile does not build on another one.", next_step="Take `profile` out there.")
    return unknown_option(name, ["profile", *NAMES])


def _told_at(section: Section, name: str, error: ConfigurationError) -> ConfigurationError:
    return ConfigurationError(f"{section.at(name)}: {error.message}", next_step=error.next_step)


def _loosened(name: str, settings: Settings, section: Section, detail: str = "") -> PolicyLoosenedError:
    where = f"{section.at('profile')}, {detail}" if detail else section.at(name)
    message = f"{where}: {name} may be tightened there and not loosened; in force is {settings.text(name)}."
    if section.path is None:
        cure = (
            f"Take it out there. If you trust that code with more, say so yourself with {flag(name)}: "
            "to `chorus-nb run`, or to `chorus-nb kernel install`."
        )
    else:
        if TrustStore().knows(section.path):
            message += " It has changed since you trusted it."
        trust = f"chorus-nb config trust {shlex.quote(str(section.path))}"
        cure = f"Take it out there; or allow it, if you trust the file: `{trust}`; or type {flag(name)} yourself."
    return PolicyLoosenedError(message, next_step=cure, option=name)


def _inside(path: object, folder: Path, section: Section) -> Path:
    inside = (folder / str(path)).resolve()
    if not inside.is_relative_to(folder.resolve()):
        raise PolicyLoosenedError(
            f"{section.at('repo_path')}: repo_path={str(path)!r} lies outside of the repository.",
            next_step=f"Name a folder in {folder}.",
            option="repo_path",
        )
    return inside


def _at_home(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return options with paths that are relative to the repository, not to where the notebook is."""
    found = dict(options)
    if isinstance(path := options.get("repo_path"), str):
        found["repo_path"] = folder / Path(path).expanduser()
    if mounts := options.get("mount"):
        found["mount"] = [at_home(each, folder) for each in ([mounts] if isinstance(mounts, str) else mounts)]
    return found


def refuse_open_configuration(settings: Settings, repository: Path) -> None:
    """Raise where code in the sandbox could write the user's own configuration, and so what the next one may do."""
    config = settings.config
    written = [
        *config.mounts.writable,
        *([config.repository.path or repository] if config.repository.mode == "rw" else []),
    ]
    for folder in (each.resolve() for each in written):
        for path in (user_file(), trust_file()):
            if path.resolve().is_relative_to(folder) or path.parent.resolve().is_relative_to(folder):
                raise ConfigurationError(
                    f"The sandbox could write {path}, your own configuration, which lies in {folder}.",
                    next_step="Let it only read there, or use another folder.",
                )


def _tilde(path: Path | None) -> str:
    """Return a path as people write it, so that a table is the same for every user."""
    text, home = str(path), str(Path.home())
    return "~" + text.removeprefix(home) if text.startswith(home + "/") else text
