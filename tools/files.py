"""What the tools share about files."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def write_whole(path: Path, data: bytes) -> None:
    """Write a file in one step, so that no half of it can be left behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
