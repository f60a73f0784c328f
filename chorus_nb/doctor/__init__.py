"""``chorus-nb doctor``: what is there, what is wrong with it, and the cure."""

from .examine import Examination, examine
from .report import print_report

__all__ = ["Examination", "examine", "print_report"]
