"""What must be there before a long build starts: a folder that can be written, and room for the data."""

import shutil
import tempfile
from pathlib import Path

# Of the built data sets: a frame's pictures, planes and labels take about so much, by pixels and without them.
BYTES_PER_PIXEL = 1.0
BYTES_PER_FRAME = 3000
COPIES = 3  # finished identities, the writer's buckets, the records


def needed_bytes(frames: int, image_size: int) -> int:
    """Disk space that a build of `frames` pictures of `image_size` pixels a side takes at its height, in bytes."""
    return COPIES * frames * int(BYTES_PER_FRAME + BYTES_PER_PIXEL * image_size**2)


def readable(size: int) -> str:
    """A number of bytes in GB, or in MB where that would say 0.0."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def check_output(directory: Path, frames: int, image_size: int, present: int = 0) -> None:
    """Refuses to start a build that could not end.

    Args:
      directory: where the data set goes; it need not exist.
      frames: number of examples.
      image_size: side of their pictures in pixels.
      present: bytes of it that an earlier build left there.

    Raises:
      PermissionError: if nothing can be written there.
      OSError: if there is not enough room; the message has the estimate.
    """
    existing = next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise PermissionError(
            f"The data set cannot be written to {directory}: {existing} takes no new file ({error.strerror}). Name "
            "another folder with --data_dir, or make room or rights here."
        ) from error
    needed, free = needed_bytes(frames, image_size) - present, shutil.disk_usage(existing).free
    if free < needed:
        raise OSError(
            f"Too little room in {existing} for {frames:,} frames of {image_size} pixels: the build takes about "
            f"{readable(needed)} more at its height, and {readable(free)} are free. Make room, or name another folder "
            "with --data_dir."
        )
