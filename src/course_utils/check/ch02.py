"""Checkers of the exercises of chapter 02."""

__all__ = []
