"""What a reader of the notebook sees of a network with an allow-list."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from webservers import Server, serving

from chorus_nb.errors import CommandError, ConfigurationError, EgressDeniedError
from notebooks import Notebook, without_colours

FETCH = "import urllib.request\nprint(urllib.request.urlopen('http://{}/').read())"
REFUSED = (
    "The network of this sandbox refused not.listed.test:80, which is not on the allow-list. "
    "To let it through, add --allow not.listed.test and make the session anew with --fresh."
)


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_a_refused_cell_shows_its_own_traceback_and_then_who_refused(notebook: Notebook, web: Server) -> None:
    line = f"%%sandbox --network allowlist --allow {web.name} --allow *.listed.test:8080"
    notebook.run(f"{line}\n{FETCH.format(web.name)}")
    assert f"/ of {web.name}" in notebook.stdout
    error = notebook.error(f"{line}\n{FETCH.format('not.listed.test')}")
    assert isinstance(error, EgressDeniedError)
    assert str(error) == REFUSED
    assert error.hosts == (("not.listed.test", 80),)
    shown = without_colours(notebook.stdout)
    assert "HTTPError: HTTP Error 403: Egress denied: not.listed.test\n" in shown
    assert shown.rstrip().endswith(f"EgressDeniedError: {REFUSED}")
    assert "chorus_nb" not in shown
    notebook.run("%sandbox status")
    assert f"allowlist {web.name},*.listed.test:8080" in notebook.stdout
    assert f"traffic:     {web.name} " in notebook.stdout
    assert "not.listed.test:80 refused once, as it is not on the allow-list" in notebook.stdout


def test_a_cell_that_goes_on_and_a_script_are_told_below_their_output(notebook: Notebook) -> None:
    code = "import urllib.request\ntry: urllib.request.urlopen('http://not.listed.test/')\nexcept OSError: print('on')"
    assert notebook.run(f"%%sandbox --network allowlist --gauge off\n{code}").success
    assert (notebook.stdout, notebook.stderr) == ("on\n", f"[sandbox] {REFUSED}\n")
    script = (
        "python3 -c 'import urllib.request; urllib.request.urlopen(\"http://not.listed.test/\")' 2>&1 | tail -1; false"
    )
    error = notebook.error(f"%%sandbox --network allowlist --gauge off --lang sh\n{script}")
    assert isinstance(error, CommandError)
    assert "Egress denied: not.listed.test" in notebook.stdout
    assert f"[sandbox] {REFUSED}\n" in notebook.stderr


def test_an_entry_without_the_network_for_it_is_told_what_is_missing(notebook: Notebook) -> None:
    error = notebook.error("%%sandbox --allow example.org\n1")
    assert isinstance(error, ConfigurationError)
    assert str(error) == (
        "allow is for network=allowlist, and network is none. Add --network allowlist, or leave allow out."
    )
