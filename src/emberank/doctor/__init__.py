"""An endpoint's URL in, what it speaks, how it scores and what is off out. Asks; changes nothing there; knows no server from the inside."""

from emberank.doctor.examination import Patient, examine
from emberank.doctor.report import Report

__all__ = ["Patient", "Report", "examine"]
