"""What a sandbox has changed in its view of the repository: found, taken over by the host, or thrown away."""
