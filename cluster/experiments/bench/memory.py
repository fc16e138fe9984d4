"""Memory of processes and their descendants."""

from pathlib import Path


def below(pid: int) -> list[int]:
    """Process ids of all descendants of a process."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = [int(child) for child in (thread / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):  # the process ended in the meantime
            continue
        for child in children:
            found += [child, *below(child)]
    return found


def pss_kb(pid: int) -> int:
    """Proportional set size of a process in KiB."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)
