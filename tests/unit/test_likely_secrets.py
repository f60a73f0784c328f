"""Which names are taken for those of secrets."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from chorus_nb.likely_secrets import EXCEPTIONS, FILES, FOLDERS, PLACES, is_public, may_name_secret, names_secret

SECRETS = """
.env .env.local .env.production .ENV prod.env .envrc id_rsa ID_RSA id_ed25519 id_ed25519_sk id_ecdsa-work id_rsa.bak
server.pem tls.key store.p12 cert.PFX app.jks vault.kdbx home.ovpn .netrc _netrc .pypirc .npmrc .git-credentials
.htpasswd .pgpass credentials.json client_secret_123.json service-account.json service-account-prod.json
service_account.json my-firebase-adminsdk-x1.json terraform.tfstate terraform.tfstate.backup prod.tfvars secrets.toml
secrets.yaml .bash_history .python_history kubeconfig dev.kubeconfig .vault-token
"""
HARMLESS = """
.env.example .env.sample .env.template .env.dist .ENV.EXAMPLE env environment.yml .environment id_rsa.pub id_ed25519.pub
secrets.py credentials.py keys.py key monkey.txt pem.py README.md credentials.json.example main.tf .gitignore .git
tests history .envoy token.py package.json auth.json public.crt
"""


@pytest.mark.parametrize("folder", ["", "a/b/"])
def test_names_of_files(folder: str) -> None:
    assert [name for name in SECRETS.split() if not names_secret(folder + name, False)] == []
    assert [name for name in HARMLESS.split() if names_secret(folder + name, False)] == []


def test_names_of_folders() -> None:
    assert [name for name in (".ssh", "a/.aws", ".GnuPG", ".config/gcloud") if not names_secret(name, True)] == []
    # A virtual environment may well be called .env, and packages as files of secrets are.
    assert [name for name in (".env", "id_rsa", "ssh", "gcloud", ".kube") if names_secret(name, True)] == []


def test_names_that_mean_it_in_one_place_only() -> None:
    assert names_secret(".docker/config.json", False)
    assert names_secret("home/.kube/config", False)
    assert not names_secret("config.json", False)
    assert not names_secret("docker/config.json", False)
    assert not names_secret(".docker/x/config.json", False)


@pytest.mark.parametrize("filling", ["", "x", ".", "a.b-c", "İ.K\udcff", "\n"], ids=repr)
def test_no_name_of_a_secret_is_passed_over(filling: str) -> None:
    names = [
        pattern.replace("*", filling) for pattern in (*FILES, *FOLDERS, *(place.split("/")[1] for place in PLACES))
    ]
    assert [name for name in [*names, *map(str.upper, names)] if not may_name_secret(name)] == []
    assert [name for name in SECRETS.split() if not may_name_secret(name)] == []


def test_names_of_most_files_are_passed_over() -> None:
    names = ["__init__.py", "main.py", "README.md", "Makefile", "LICENSE", "data.csv", "plot.png", "index.html", "a"]
    assert [name for name in names if may_name_secret(name)] == []


def test_a_hostile_name_takes_no_time() -> None:
    assert not names_secret("a/" + "-firebase-adminsdk-" * 3000 + "x", False)


CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("name", "text", "public"),
    [
        ("ca.pem", CERTIFICATE * 200, True),
        ("CA.PEM", "# Issuer\n" + CERTIFICATE, True),
        ("public.pem", CERTIFICATE.replace("CERTIFICATE", "PUBLIC KEY"), True),
        ("both.pem", CERTIFICATE + KEY, False),
        ("key.pem", KEY, False),
        ("encrypted.pem", KEY.replace("EC PRIVATE", "ENCRYPTED PRIVATE"), False),
        ("unknown.pem", KEY.replace("EC PRIVATE KEY", "SOMETHING"), False),
        ("empty.pem", "", False),
        ("large.pem", CERTIFICATE * 50_000, False),
        ("ca.key", CERTIFICATE, False),
        ("late.pem", CERTIFICATE + "x" * 500_000 + KEY, False),
    ],
)
def test_a_pem_of_certificates_is_public(tmp_path: Path, name: str, text: str, public: bool) -> None:
    (tmp_path / name).write_text(text)
    assert is_public(tmp_path / name) is public


def test_a_pem_that_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.pem")
    (tmp_path / "link.pem").symlink_to("fifo.pem")
    assert not is_public(tmp_path / "fifo.pem")
    assert not is_public(tmp_path / "link.pem")
    assert not is_public(tmp_path / "absent.pem")


def test_the_page_has_the_whole_list() -> None:
    page = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    block = page.partition("<!-- secrets -->")[2].partition("<!-- end of secrets -->")[0]
    named = set(re.findall(r"`([^`]+)`", block))
    folders = {f"{name}/" for name in FOLDERS}
    kinds = {name.replace("_rsa", "_*") for name in FILES if name.startswith("id_rsa")}
    files = {name for name in FILES if not name.startswith("id_")} | kinds
    assert named == files | folders | {*PLACES} | {*EXCEPTIONS}
