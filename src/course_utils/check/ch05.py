"""Checkers of the exercises of chapter 05."""

__all__ = []
