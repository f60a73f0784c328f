"""What a person sees of two versions of a file: lines, pictures, cells, or size and digest.

Content and names come from a sandbox. :func:`compare` makes a :class:`Difference` of them, in which every text is fit
to be shown already; :mod:`plain` writes it as text, with colours where a terminal has them, :mod:`markup` as HTML.
"""

from .compare import compare
from .markup import as_html
from .model import Budget, ChangeKind, Difference, Line, Picture, Report, Version
from .plain import as_text, count, named, visible

__all__ = [
    "Budget",
    "ChangeKind",
    "Difference",
    "Line",
    "Picture",
    "Report",
    "Version",
    "as_html",
    "as_text",
    "compare",
    "count",
    "named",
    "visible",
]
