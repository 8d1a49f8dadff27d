"""The PJM systems of these tests; see system.py."""

from .system import pjm, wisteria

__all__ = ["pjm", "wisteria"]
