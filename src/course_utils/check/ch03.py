"""Checkers of the exercises of chapter 03."""

__all__ = []
