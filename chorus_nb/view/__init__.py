"""The view of the repository that a sandbox writes to: an overlay, or a copy where an engine can't mount one."""
