"""Checkers of the exercises of chapter 01."""

__all__ = []
