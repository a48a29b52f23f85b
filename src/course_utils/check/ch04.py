"""Checkers of the exercises of chapter 04."""

__all__ = []
