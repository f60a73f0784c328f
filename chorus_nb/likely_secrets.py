"""Files that hold secrets by their names: what a sandbox does not see of a repository unless its user says so.

Names alone decide, so that nothing has to be read; a secret under another name is not known. The one exception is
``*.pem``, which is as often a public certificate: such a file is read.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable
from pathlib import Path

FILES = (
    # Variables of programs, by the custom of dotenv and direnv.
    *(".env", ".env.*", "*.env", ".envrc", ".Renviron"),
    # Private keys: OpenSSH, TLS, PuTTY, Java, Apple, OpenVPN; and stores of passwords.
    *(f"id_{kind}{end}" for kind in ("rsa", "dsa", "ecdsa", "ed25519") for end in ("", ".*", "_*", "-*")),
    *("*.pem", "*.key", "*.p12", "*.pfx", "*.p8", "*.pk8", "*.ppk", "*.jks", "*.keystore", "*.bks", "*.ovpn"),
    *("secring.*", "*.kdb", "*.kdbx", "*.psafe3", "*.keychain", "*.keychain-db"),
    # What programs log in with.
    *(".netrc", "_netrc", ".pypirc", "pip.conf", ".npmrc", ".git-credentials", ".htpasswd", ".pgpass", ".my.cnf"),
    *(".mylogin.cnf", ".s3cfg", ".boto", ".dockercfg", ".terraformrc", "credentials.tfrc.json", ".vault-token"),
    *(".vault_pass", ".vault_pass.txt", "kubeconfig", "*.kubeconfig"),
    # What services hand out, and what deployments keep in clear text.
    *("credentials.json", "client_secret*.json", "service-account*.json", "service_account*.json"),
    *("application_default_credentials.json", "*-firebase-adminsdk-*.json"),
    *("secrets.json", "secrets.toml", "secrets.yaml", "secrets.yml", "*.tfstate", "*.tfstate.*", "*.tfvars"),
    # What was typed, passwords now and then.
    ".*_history",
)
"""Names of files, in lower and upper case alike."""

FOLDERS = (".aws", ".azure", ".gnupg", ".password-store", ".ssh")
"""Names of folders: all that is in them."""

PLACES = (
    *(".cargo/credentials", ".cargo/credentials.toml", ".config/gcloud", ".config/gh", ".docker/config.json"),
    *(".gem/credentials", ".kube/config", ".m2/settings.xml"),
)
"""Names that mean this only in a folder of that name."""

EXCEPTIONS = ("*.pub", "*.example", "*.sample", "*.template", "*.dist")
"""Names of files that are none: public keys, and examples to be filled in."""

_MAX_PEM_BYTES = 1 << 20


def _any_of(names: tuple[str, ...]) -> re.Pattern[str]:
    """Make one expression of all, with one branch for all endings: each file's name in a repository is tried."""
    endings = [name[2:] for name in names if re.fullmatch(r"\*\.[^*]*", name)]
    others = [fnmatch.translate(name.lower()) for name in names if name[2:] not in endings]
    return re.compile("|".join([rf"(?s:.*\.(?:{'|'.join(map(re.escape, endings))}))\Z", *others]))


_FILE, _EXCEPTION = _any_of(FILES), _any_of(EXCEPTIONS)
_FOLDERS, _PLACES = frozenset(FOLDERS), frozenset(PLACES)
_IN_PLACES = frozenset(place.rpartition("/")[2] for place in PLACES)


_END = 3


def _ends_of(names: Iterable[str]) -> tuple[frozenset[str], frozenset[str], re.Pattern[str]]:
    """Return the first, or else the last, characters of all that fits these names; and what is within the others."""
    starts, ends, inner = set(), set(), []
    for parts in (name.lower().split("*") for name in names):
        if len(parts) == 1 or len(parts[0]) >= _END:
            starts.add(parts[0][:_END])
        elif len(parts[-1]) >= _END:
            ends.add(parts[-1][-_END:])
        else:
            inner.append(re.escape(max(parts, key=len)))
    return frozenset(starts), frozenset(ends), re.compile("|".join(inner))


_STARTS, _ENDS, _INNER = _ends_of((*FILES, *FOLDERS, *_IN_PLACES))


def may_name_secret(name: str) -> bool:
    """Whether a path with this last name may be one of which :func:`names_secret` says so; a fraction of its cost."""
    lower = name.lower()
    return lower[:_END] in _STARTS or lower[-_END:] in _ENDS or _INNER.search(lower) is not None


def names_secret(path: str, is_folder: bool) -> bool:
    """Whether a file or folder holds secrets by its name, and that of the folder that it is in.

    Parameters
    ----------
    path : str
        With ``/``, relative or absolute.
    is_folder : bool
    """
    parent, _, name = path.lower().rpartition("/")
    if name in _IN_PLACES and f"{parent.rpartition('/')[2]}/{name}" in _PLACES:
        return True
    if is_folder:
        return name in _FOLDERS
    return _FILE.match(name) is not None and _EXCEPTION.match(name) is None


def is_public(path: Path) -> bool:
    """Whether a file with a secret's name is a ``*.pem`` with nothing in it but certificates and public keys."""
    if path.suffix.lower() != ".pem":
        return False
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(_MAX_PEM_BYTES + 1)
    except OSError:
        return False
    blocks = re.findall(rb"-----BEGIN ([^\r\n-]{1,60})-----", text)
    public = (b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CRL", b"PUBLIC KEY", b"RSA PUBLIC KEY", b"DH PARAMETERS")
    return len(text) <= _MAX_PEM_BYTES and bool(blocks) and set(blocks) <= {*public} and b"PRIVATE" not in text
