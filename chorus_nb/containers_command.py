"""``chorus-nb ps`` and ``chorus-nb prune``: containers of all notebooks, volumes, and what nobody owns any more."""

from __future__ import annotations

from .engines.base import OWNER_LABEL, SESSION_LABEL
from .engines.docker import DockerEngine
from .engines.named_volumes import remove_volume, volumes_in_use
from .engines.owner import owner_alive
from .status import table, visible


def ps(engine: DockerEngine) -> int:
    """Print every container of ours on the engine, with who owns it."""
    rows = []
    for container_id, labels in engine.owned():
        state = engine.inspect_id(container_id).status
        session = visible(labels.get(SESSION_LABEL, "-"))
        if state != "removed":
            rows.append((container_id[:12], session, state, _owner(labels.get(OWNER_LABEL, ""))))
    print(table([("CONTAINER", "SESSION", "STATE", "OWNER"), *rows]) if rows else "There are no sandboxes.")
    if volumes := volumes_in_use(engine):
        uses = [(visible(name), "in use" if used else "free") for name, used in volumes.items()]
        print("\n" + table([("VOLUME", "STATE"), *uses]))
    return 0


def prune(engine: DockerEngine, volumes: bool = False) -> int:
    """Remove the containers whose process is provably gone, and the empty images that no container uses.

    Volumes outlive sandboxes on purpose, so only who asks for it loses those that no container uses.
    """
    dead = [each for each, labels in engine.owned() if not owner_alive(labels.get(OWNER_LABEL, ""))]
    for container_id in dead:
        engine.remove_id(container_id)
        print(f"Removed the container {container_id[:12]}.")
    images = [image for image in engine.own_images() if engine.remove_own_image(image)]
    for image in images:
        print(f"Removed the image {visible(image)}.")
    free = [name for name in (volumes_in_use(engine) if volumes else ()) if remove_volume(engine, name)]
    for name in free:
        print(f"Removed the volume {visible(name)}.")
    if not dead and not images and not free:
        print("There is nothing to remove.")
    return 0


def _owner(label: str) -> str:
    """Return the owner in words: containers of other machines, and of other containers, count as owned."""
    if not owner_alive(label):
        return "gone"
    pid = label.split("/")[3:4]
    return f"process {visible(pid[0])}" if pid else "unknown"
