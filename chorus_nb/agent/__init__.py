"""The half of chorus-nb that runs inside the sandbox.

Standard library only, CPython 3.8 and later. Three processes: the supervisor (PID 1, never runs user code), the
template (imports IPython, then stands still) and workers (forks of the template, run the cells).
"""
