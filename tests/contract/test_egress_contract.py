"""A network with an allow-list, on every engine: what gets through, and what is said of the rest."""

from __future__ import annotations

import hashlib
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import wait_until
from sandboxes import InterruptedCellError, Running, opened, start_cell, text_of, value
from webservers import BIG, Server, certificate, serving

from chorus_nb.agent.wire import Message, encode
from chorus_nb.egress import HostTraffic
from chorus_nb.engines.base import Engine
from chorus_nb.sandbox import ExecutionResult, Sandbox

FETCH = """
import urllib.error, urllib.request
def fetch(url, *arguments, **options):
    with urllib.request.urlopen(url, *arguments, **options) as response:
        return response.read()
"""


@pytest.fixture(scope="module")
def web() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module", params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def kept(request: pytest.FixtureRequest, web: Server) -> Iterator[Sandbox]:
    """One sandbox on each engine that may reach the server, and names that are nowhere."""
    engine = request.getfixturevalue("docker_engine") if request.param == "docker" else _fake()
    allow = [web.name, "*.allowed.test"]
    with opened(engine, network="allowlist", allow=allow, memory="512m") as sandbox:
        yield sandbox


def _fake() -> Engine:
    from chorus_nb.engines.fake import FakeEngine

    return FakeEngine()


@pytest.fixture
def sandbox(kept: Sandbox) -> Sandbox:
    kept.restart()
    kept.run(FETCH)
    return kept


def run(sandbox: Sandbox, code: str) -> ExecutionResult:
    result = sandbox.run(code, timeout=60)
    assert result.error is None, text_of(result)
    return result


def received_bytes(sandbox: Sandbox) -> int:
    return sum(each.received_bytes for each in sandbox._session.egress.traffic)


# What gets through


def test_a_page_of_an_allowed_host(sandbox: Sandbox, web: Server) -> None:
    result = run(sandbox, f"fetch('http://{web.name}/a?b=c').decode()")
    assert str(result.result) == f"'/a?b=c of {web.name}, close'"
    (traffic,) = result.egress
    assert (traffic.name, traffic.refused) == (web.name, 0)
    assert traffic.sent_bytes > 50
    assert traffic.received_bytes > 30
    assert (result.usage.network_tx_bytes, result.usage.network_rx_bytes) == (
        traffic.sent_bytes,
        traffic.received_bytes,
    )
    assert run(sandbox, "1").egress == ()
    assert sandbox.usage().network_rx_bytes >= traffic.received_bytes


def test_the_host_that_is_asked_is_the_one_of_the_url(sandbox: Sandbox, web: Server) -> None:
    code = f"fetch(urllib.request.Request('http://{web.name}/', headers={{'Host': 'evil.test'}})).decode()"
    assert f"of {web.name}," in value(sandbox, code)


def test_tls_goes_through_untouched(engine: Engine, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    authority = (tmp_path / "cert.pem").read_text()
    with serving(context) as web, opened(engine, network="allowlist", allow=[web.name]) as sandbox:
        run(sandbox, FETCH + f"import ssl\ncontext = ssl.create_default_context(cadata={authority!r})")
        assert f"/s of {web.name}" in value(sandbox, f"fetch('https://{web.name}/s', context=context).decode()")


def test_a_large_download_arrives_whole(sandbox: Sandbox, web: Server) -> None:
    code = f"import hashlib\nhashlib.sha256(fetch('http://{web.name}/big')).hexdigest()"
    result = run(sandbox, code)
    assert str(result.result) == repr(hashlib.sha256(BIG).hexdigest())
    assert len(BIG) < result.egress[0].received_bytes < len(BIG) + 1000


def test_a_large_upload_arrives_whole(sandbox: Sandbox, web: Server) -> None:
    code = f"data = bytes(range(256)) * 2**16\nfetch('http://{web.name}/', data).decode()"
    assert value(sandbox, code) == repr(hashlib.sha256(bytes(range(256)) * 2**16).hexdigest())


def test_programs_find_the_way_too(sandbox: Sandbox, web: Server) -> None:
    program = f"import urllib.request; print(urllib.request.urlopen('http://{web.name}/p').read().decode())"
    assert sandbox.command(["python3", "-c", program]).stdout == f"/p of {web.name}, close\n"
    code = f"import subprocess, sys\nsubprocess.check_output([sys.executable, '-c', {program!r}], text=True)"
    assert f"/p of {web.name}" in value(sandbox, code)


def test_many_at_a_time_and_nothing_of_them_stays(sandbox: Sandbox, web: Server) -> None:
    run(sandbox, f"fetch('http://{web.name}/')")
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    code = f"""
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(20) as pool:
    pages = list(pool.map(lambda n: fetch(f'http://{web.name}/{{n}}'), range(120)))
len(set(pages))"""
    assert value(sandbox, code) == "120"
    wait_until(lambda: threading.active_count() <= threads and len(os.listdir("/proc/self/fd")) <= descriptors)


# What does not


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_refusal_is_the_cells_error_and_names_the_host(sandbox: Sandbox, scheme: str) -> None:
    port = {"http": 80, "https": 443}[scheme]
    result = sandbox.run(f"fetch('{scheme}://Not.Listed.test/')")
    assert result.error is not None
    assert result.error.ename == "EgressDeniedError"
    assert result.error.evalue == (
        f"The network of this sandbox refused not.listed.test:{port}, which is not on the allow-list. "
        "To let it through, add --allow not.listed.test and make the session anew with --fresh."
    )
    text = text_of(result)
    assert "Egress denied: not.listed.test" in text
    assert text.index("Egress denied") < text.index("EgressDeniedError")
    assert result.egress == (HostTraffic("not.listed.test", port, refused=1, rule="is not on the allow-list"),)
    assert sandbox.run("1 / 0").error.ename == "ZeroDivisionError"  # type: ignore[union-attr]


def test_a_refusal_that_the_cell_lives_with_is_said_below_its_output(sandbox: Sandbox) -> None:
    code = """
try:
    fetch('http://not.listed.test/')
except urllib.error.HTTPError as error:
    print(error.code, error.headers['X-Chorus-Egress'], error.read().decode())"""
    result = run(sandbox, code)
    assert result.stdout == "403 denied not.listed.test:80 is not on the allow-list of this sandbox.\n\n"
    assert result.stderr.startswith("[sandbox] The network of this sandbox refused not.listed.test:80,")


def test_another_port_of_an_allowed_host_is_another_thing(sandbox: Sandbox, web: Server) -> None:
    result = sandbox.run(f"fetch('http://localhost:{web.server_port ^ 1}/')")
    assert result.error is not None
    assert result.error.ename == "EgressDeniedError"


def test_a_name_that_nobody_knows_is_no_refusal(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", fail)
    result = sandbox.run("fetch('https://nowhere.allowed.test/')")
    assert result.error is not None
    assert result.error.ename == "URLError"
    assert "502 Bad Gateway" in result.error.evalue


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", 400),
        (b"CONNECT 0x7f.1:443 HTTP/1.1\r\n\r\n", 403),
        (b"CONNECT 127.0.0.1:1 HTTP/1.1\r\n\r\n", 403),
        (b"GET http://a.test/ HTTP/1.1\r\nX: " + b"x" * 70_000, 431),
    ],
)
def test_what_the_proxy_does_not_carry_it_answers(sandbox: Sandbox, sent: bytes, status: int) -> None:
    answer = value(sandbox, _raw(f"peer.sendall({sent!r})") + "print(received[:12])\nreceived[:12]")
    assert answer == repr(f"HTTP/1.1 {status}".encode())


def test_a_cell_can_not_speak_for_the_proxy(sandbox: Sandbox, web: Server) -> None:
    forged = Message("egress_open", {"connection": 2**52, "host": "localhost", "port": web.server_port})
    code = f"""
import os, socket, stat
for fd in range(3, 40):
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode) and socket.socket(fileno=os.dup(fd)).family == socket.AF_UNIX:
            os.write(fd, {encode(forged)!r})
    except OSError: pass
"""
    run(sandbox, code)
    assert "/x of" in value(sandbox, f"fetch('http://{web.name}/x').decode()")

    assert sandbox._session.egress._latest < 2**52, "the number of the forged connection was never heard of"


def _raw(code: str) -> str:
    return f"""
import os, socket, urllib.parse
address = urllib.parse.urlsplit(os.environ['http_proxy'])
received = b''
with socket.create_connection((address.hostname, address.port), timeout=20) as peer:
    {code}
    try:
        while piece := peer.recv(65536): received += piece
    except ConnectionResetError: pass
"""


def test_connections_that_come_to_nothing_harm_nobody(sandbox: Sandbox, web: Server) -> None:
    code = """
import os, socket, urllib.parse
address = urllib.parse.urlsplit(os.environ['http_proxy'])
peers = [socket.create_connection((address.hostname, address.port)) for _ in range(100)]
for number, peer in enumerate(peers):
    if number % 3: peer.sendall(b'CONNECT half' if number % 2 else b'')
    peer.close()
"""
    run(sandbox, code)
    assert "/x of" in value(sandbox, f"fetch('http://{web.name}/x').decode()")


# Who waits for whom


def test_an_interrupt_comes_through_a_download(sandbox: Sandbox, web: Server) -> None:
    before = received_bytes(sandbox)
    running = start_cell(sandbox, f"fetch('http://{web.name}/endless')")
    wait_until(lambda: received_bytes(sandbox) > before + 2**20)
    ended = web.ended
    sandbox.interrupt()
    with pytest.raises(InterruptedCellError):
        running.join(60)
    assert value(sandbox, "'kept'") == "'kept'"
    assert "fetch" in value(sandbox, "dir()")
    wait_until(lambda: web.ended > ended)


def test_who_does_not_read_is_sent_no_more_and_holds_up_nobody(sandbox: Sandbox, web: Server) -> None:
    before = received_bytes(sandbox)
    run(sandbox, f"response = urllib.request.urlopen('http://{web.name}/endless')")
    time.sleep(1)
    taken = received_bytes(sandbox) - before
    assert taken < 32 * 2**20, "the buffers of a few sockets, and a window"
    assert "/y of" in value(sandbox, f"fetch('http://{web.name}/y').decode()")
    ended = web.ended
    run(sandbox, "response.close()")
    wait_until(lambda: web.ended > ended)


def test_a_restart_closes_the_connections(sandbox: Sandbox, web: Server) -> None:
    run(sandbox, f"response = urllib.request.urlopen('http://{web.name}/endless')")
    ended = web.ended
    sandbox.restart()
    wait_until(lambda: web.ended > ended)


def test_a_proxy_that_was_killed_is_there_again(sandbox: Sandbox, web: Server) -> None:
    code = f"""
import os, signal
response = urllib.request.urlopen('http://{web.name}/endless')
parent = os.getppid()
for pid in filter(str.isdigit, os.listdir('/proc')):
    try:
        if int(open(f'/proc/{{pid}}/stat').read().rpartition(')')[2].split()[1]) == parent and int(pid) != os.getpid():
            os.kill(int(pid), signal.SIGKILL)
    except OSError: pass
"""
    ended = web.ended
    run(sandbox, code)
    wait_until(lambda: web.ended > ended)
    assert "/z of" in value(sandbox, f"fetch('http://{web.name}/z').decode()")


def test_the_end_of_a_session_closes_its_connections(engine: Engine, web: Server) -> None:
    threads = set(threading.enumerate())
    with opened(engine, network="allowlist", allow=[web.name]) as sandbox:
        run(sandbox, FETCH + f"response = urllib.request.urlopen('http://{web.name}/endless')")
        ended = web.ended
    wait_until(lambda: web.ended > ended and not set(threading.enumerate()) - threads)


def test_without_an_allow_list_there_is_no_proxy(engine: Engine) -> None:
    with opened(engine) as sandbox:
        assert value(sandbox, "import os\n[name for name in os.environ if 'proxy' in name.lower()]") == "[]"


def test_variables_of_the_users_own_stay(engine: Engine, web: Server) -> None:
    # The second has the template be an interpreter of its own.
    environment = {"HTTP_PROXY": "http://mine.test:1", "PYTHONHASHSEED": "0"}
    with opened(engine, network="allowlist", allow=[web.name], env=environment) as sandbox:
        assert value(sandbox, "import os\nos.environ['HTTP_PROXY']") == "'http://mine.test:1'"
        assert value(sandbox, "os.environ['https_proxy'][:17]") == "'http://127.0.0.1:'"
        assert "/ of" in value(sandbox, f"{FETCH}\nfetch('http://{web.name}/').decode()")


def test_two_sandboxes_have_two_lists(engine: Engine, web: Server) -> None:
    with (
        opened(engine, network="allowlist", allow=[web.name]) as one,
        Sandbox(engine=engine, network="allowlist", allow=["localhost:1"], repo="none") as other,
    ):
        for each in (one, other):
            each.run(FETCH)
        runs = [Running(lambda each=each: each.run(f"fetch('http://{web.name}/').decode()")) for each in (one, other)]
        results = [running.join() for running in runs]
        assert [result.ok for result in results] == [True, False]
        assert results[1].error.ename == "EgressDeniedError"
