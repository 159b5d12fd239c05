"""What the scripts of `make parity` share: running the built tool, and saying where two tensors differ."""

import subprocess
import sys


def run(command):
    """The standard output of `command`; where it fails, ends this script with what it said."""
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        # Ids and embeddings make the whole command longer than a screen.
        sys.exit(f"{' '.join(command[:4])} … ended with status {result.returncode}: {result.stderr.strip() or 'no message'}")
    return result.stdout


def largest(found, expected):
    """The largest absolute difference; nan where a value is nan, infinite where the shapes differ."""
    return (found - expected).abs().max().item() if found.shape == expected.shape else float("inf")


def disagreement(tensor, found, expected, limit):
    """One line on what differs by more than `limit` (None where nothing does): how many elements, the worst with both its
    values, and the first row, since an error that starts at row 0 and one that grows along the rows have other causes."""
    if found.shape != expected.shape:
        return f"{tensor}: shape {list(found.shape)} here, {list(expected.shape)} in the reference"
    difference = (found - expected).abs()
    wrong = ~(difference <= limit)  # nan is wrong
    if not wrong.any():
        return None
    worst = difference.nan_to_num(nan=float("inf")).flatten().argmax().item()
    place, rest = [], worst
    for size in reversed(found.shape):
        place.insert(0, rest % size)
        rest //= size
    at = tuple(place)
    return (
        f"{tensor}: {int(wrong.sum())} of {wrong.numel()} elements differ by more than {limit:.0e}, most of all "
        f"{place}: {found[at].item():.7g} here, {expected[at].item():.7g} in the reference, difference "
        f"{difference[at].item():.1e}; first row that differs: {int(wrong.nonzero()[0, 0])} of {found.shape[0]}")
