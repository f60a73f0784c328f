"""The container engine, and its images."""

from __future__ import annotations

from .base import ChorusError


class EngineError(ChorusError, RuntimeError):
    """The container engine refused or failed."""

    category = "engine"


class EngineNotFoundError(EngineError, ConnectionError):
    """No engine answers at the address."""

    retryable = True


class EnginePermissionError(EngineError, PermissionError):
    """The engine is there, but this user may not talk to it."""


class EngineTimeoutError(EngineError, TimeoutError):
    """The engine took a call and did not answer it in time."""

    retryable = True


class VolumeMountError(EngineError):
    """The engine could not mount a volume."""


class ImageError(ChorusError, RuntimeError):
    """Something about an image."""

    category = "image"


class ImageNotFoundError(ImageError, LookupError):
    """The engine has no image of that name."""


class ImageUnsupportedError(ImageError):
    """The image has no CPython that the agent can run on."""
