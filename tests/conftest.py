"""Fixtures that every kind of test shares: engines, images, and the check that nothing is left behind."""

from __future__ import annotations

import gc
import io
import re
import shutil
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from podman_service import podman_service
from sandboxes import opened

from chorus_nb.config import NetworkPolicy, ResourceLimits, SecurityPolicy
from chorus_nb.engines.base import OWNER_LABEL, WORKSPACE, Container, ContainerSpec, ContainerState, Engine
from chorus_nb.engines.docker import DockerEngine
from chorus_nb.engines.endpoint import Endpoint
from chorus_nb.engines.fake import FakeEngine
from chorus_nb.engines.owner import owner_alive, owner_label
from chorus_nb.errors import ChorusError
from chorus_nb.sandbox import Sandbox
from notebooks import Notebook

CURE = "These tests need a Docker Engine: run `scripts/ensure_engine.sh`."
SYSTEM_PYTHON = "/usr/bin/python3"

# On a machine that stalls, how long an example takes says nothing.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs an engine; the cells of notebooks use the real one."""
    for item in items:
        if item.path.suffix == ".ipynb" or {"docker_engine", "podman_engine"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.docker)
        if _has_podman_alone(item):
            item.add_marker(pytest.mark.podman)


def _has_podman_alone(item: pytest.Item) -> bool:
    """Whether a test uses the tests' own Podman, and the engine of this machine not at all."""
    fixtures = getattr(item, "fixturenames", ())
    named = "podman_engine" in fixtures or "podman" in item.name.partition("[")[2]
    return named and "docker_engine" not in fixtures


def pytest_unconfigure() -> None:
    """Spare the end of this process minutes: each of the hundreds of IPython shells looks through all memory then."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def user_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the configuration of whoever runs the tests out of them, also of the kernels that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        # With a history of its own: who writes to one waits for whoever else does.
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        yield


@pytest.fixture
def own_git(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the git settings of whoever runs the tests out of them; return the file that holds in their place."""
    file = tmp_path_factory.mktemp("git") / "gitconfig"
    file.write_text(
        "[user]\nname = Ann Example\nemail = ann@example.org\n[init]\ndefaultBranch = main\n"
        '[protocol "file"]\nallow = always\n'
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(file))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    return file


@pytest.fixture(scope="session")
def docker_engine() -> DockerEngine:
    """The real engine. Without one the tests fail: a skipped test proves nothing."""
    engine = DockerEngine()
    try:
        engine.capabilities()
    except ChorusError as error:
        pytest.fail(f"{CURE} {error}", pytrace=False)
    return engine


@pytest.fixture
def fake_engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def notebook(fake_engine: FakeEngine) -> Iterator[Notebook]:
    """A notebook whose sandboxes are plain processes."""
    notebook = Notebook(fake_engine)
    yield notebook
    notebook.close()


@pytest.fixture(scope="session")
def podman_engine() -> Iterator[DockerEngine]:
    """Podman behind its Docker-compatible socket, a service of the tests' own in which nothing may be left.

    Use it with ``network="none"`` alone, so that it makes no bridge.
    """
    try:
        with podman_service() as address:
            engine = DockerEngine(Endpoint(address, "the tests"))
            yield engine
            left = engine.client.containers(all=True)
            for container in left:
                engine.remove_id(container["Id"])
            assert left == []
    except RuntimeError as error:
        pytest.fail(str(error), pytrace=False)


ISOLATED = [pytest.param(name, marks=pytest.mark.docker) for name in ("docker", "podman")]
ENGINES = ["fake", *ISOLATED]


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """Each engine in turn: for what must hold of every engine."""
    return request.getfixturevalue(f"{request.param}_engine")


@pytest.fixture(scope="module", params=["fake", pytest.param("docker", marks=pytest.mark.docker)])
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox on each engine for a module's tests, working in a folder of the host that it may write to."""
    engine = request.getfixturevalue("docker_engine") if request.param == "docker" else FakeEngine()
    with opened(engine, repo="rw", repo_path=tmp_path_factory.mktemp("repository"), memory="512m") as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(kept: Sandbox) -> Sandbox:
    """The module's sandbox with an empty namespace."""
    kept.restart()
    return kept


SpecMaker = Callable[..., ContainerSpec]
Launcher = Callable[..., Container]


def make_spec(engine: Engine, program: str, **changes: Any) -> ContainerSpec:
    """Describe a container that runs ``program`` with ``python -c`` and the default policy."""
    image = changes.pop("image", None) or engine.resolve("mirror")
    fields: dict[str, Any] = {
        "session_name": "test",
        "image": image,
        "arguments": ("-c", program),
        "environment": {},
        "working_dir": WORKSPACE,
        "user": "65534:65534",
        "mounts": image.mounts,
        "limits": ResourceLimits(),
        "network": NetworkPolicy(),
        "security": SecurityPolicy(),
        "labels": {},
    }
    return ContainerSpec(**(fields | changes))


@pytest.fixture
def launch() -> Iterator[Launcher]:
    """Create and start containers that are removed at the end: ``launch(engine, program, **spec fields)``."""
    containers: list[Container] = []

    def start(engine: Engine, program: str, **changes: Any) -> Container:
        container = engine.create(make_spec(engine, program, **changes))
        containers.append(container)
        container.start()
        return container

    yield start
    for container in containers:
        container.remove()


def read_all(container: Container) -> str:
    """Read the container's standard output to its end."""
    pieces = []
    while piece := container.stream.receive():
        pieces.append(piece)
    return b"".join(pieces).decode()


def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Poll until ``condition`` holds."""
    give_up_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_at, f"not within {timeout_s} s: {condition}"
        time.sleep(0.02)


def has_ended(container: Container) -> bool:
    state: ContainerState = container.inspect()
    return state.status in ("exited", "removed")


@pytest.fixture(scope="session", autouse=True)
def _nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail the run if a container is left that this process, or a kernel it started, made."""
    if not any(
        item.get_closest_marker("docker") or item.get_closest_marker("browser") for item in request.session.items
    ):
        yield
        return
    engine = request.getfixturevalue("docker_engine")
    before = {container_id for container_id, _ in engine.owned()}
    yield

    def left() -> list[str]:
        return [
            container_id
            for container_id, labels in engine.owned()
            if container_id not in before
            and (labels[OWNER_LABEL] == owner_label() or not owner_alive(labels[OWNER_LABEL]))
        ]

    try:
        wait_until(lambda: not left(), timeout_s=30)
    except AssertionError:
        found = left()
        for container_id in found:
            engine.remove_id(container_id)
        pytest.fail(f"containers left behind: {found}", pytrace=False)


@pytest.fixture(scope="session")
def image_without_python(docker_engine: DockerEngine) -> Iterator[str]:
    """An image in which there is nothing to run."""
    yield from imported(docker_engine, "chorus-nb-test/empty:latest", _archive([("etc/motd", b"nothing here\n")]))


@pytest.fixture(scope="session")
def image_with_shell(docker_engine: DockerEngine) -> Iterator[str]:
    """An image with a shell and a few programs, and no Python."""
    yield from imported(docker_engine, "chorus-nb-test/shell:latest", _shell_archive())


@pytest.fixture(scope="session")
def plain_python_image(docker_engine: DockerEngine) -> Iterator[str]:
    """The distribution's Python, its standard library and the libraries these need; nothing else, so no IPython."""
    yield from imported(docker_engine, "chorus-nb-test/python:latest", python_archive())


@pytest.fixture(scope="session")
def image_with_volume(docker_engine: DockerEngine) -> Iterator[str]:
    """An image that declares a volume and a health check, as database images do."""
    changes = ["VOLUME /data", 'HEALTHCHECK CMD ["/usr/bin/python3", "-c", "1"]']
    yield from imported(docker_engine, "chorus-nb-test/volume:latest", python_archive(), changes)


def imported(engine: DockerEngine, reference: str, archive: bytes, changes: list[str] | None = None) -> Iterator[str]:
    repository, _, tag = reference.partition(":")
    engine.client.import_image_from_data(archive, repository=repository, tag=tag, changes=changes)
    yield reference
    engine.client.remove_image(reference, force=True)


def _archive(files: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def python_archive() -> bytes:
    """Pack the distribution's Python, each library at the path where the loader looks for it."""
    if not Path(SYSTEM_PYTHON).exists():
        pytest.fail(f"The test images are made of {SYSTEM_PYTHON}: run `sudo apt install python3`.", pytrace=False)
    program = "import sysconfig; print(sysconfig.get_path('stdlib'))"
    stdlib = Path(subprocess.check_output([SYSTEM_PYTHON, "-I", "-S", "-c", program], text=True).strip())
    binary = Path(SYSTEM_PYTHON).resolve()
    libraries = _libraries([binary, *stdlib.glob("lib-dynload/*.so")])
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for path in (binary, *libraries):
            archive.add(path, arcname=str(path))
        archive.add(binary, arcname=SYSTEM_PYTHON)
        archive.add(stdlib, arcname=str(stdlib), filter=_without_bulk)
    return buffer.getvalue()


def _shell_archive() -> bytes:
    """Pack this system's shell, ``dash`` on Debian, and what the tests' scripts call."""
    names = ("cat", "head", "id", "ls", "mkdir", "setsid", "sleep", "tail", "touch", "yes")
    programs = {f"/bin/{name}": Path(shutil.which(name) or "").resolve() for name in ("sh", *names)}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for path in _libraries([*programs.values()]):
            archive.add(path, arcname=str(path))
        for name, path in programs.items():
            archive.add(path, arcname=name)
    return buffer.getvalue()


def _libraries(programs: list[Path]) -> set[Path]:
    output = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    return {Path(match) for match in re.findall(r"(/\S+\.so\S*) \(0x", output)}


def _without_bulk(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    bulk = ("__pycache__", "test", "idlelib", "lib2to3", "ensurepip", "dist-packages", "site-packages")
    return None if Path(entry.name).name in bulk or Path(entry.name).name.startswith("config-") else entry
