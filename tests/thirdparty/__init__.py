"""Notebooks of other projects, run natively and in the sandbox, compared by nbval."""
