"""How much of an input is held at once: known before it is read."""

from pathlib import Path

LINE = 2**27  # bytes of a line, a paragraph or a cell; text8 is one line of 10^8
PIXELS = 2**24  # of a picture
PICTURES = 2**31  # bytes of all pictures
COLUMNS = 2**14  # of a table whose columns are turned: the matrix takes 2 GiB
SMALL, RATIO = 2**26, 200  # text packs to a twentieth, MNIST to a fifth


def unpacked(path: Path) -> int:
    """Return how many bytes a packed file may unpack to; a bomb's are a thousand times its own."""
    return SMALL + RATIO * path.stat().st_size


def size(count: int) -> str:
    """Return a number of bytes in words."""
    power = min(max(count.bit_length() - 1, 0) // 10, 6)
    return f"{count / 2 ** (10 * power):.3g} {('bytes', *(f'{x}iB' for x in 'KMGTPE'))[power]}"
