#!/usr/bin/env python3
"""Fails if a cell of a finished matrix is missing, or has a trial that did not complete."""

import json
import pathlib
import sys


def main(folder: pathlib.Path, expected: int) -> int:
    cells = json.loads((folder / "summary.json").read_text())["cells"]
    trouble = [] if len(cells) == expected else [f"{len(cells)} cells instead of {expected}"]
    for cell in cells:
        outcomes = {kind: count for kind, count in cell["outcomes"].items() if count}
        # An invalid trial that was repeated and then completed is what the plan allows.
        final = {kind: count for kind, count in outcomes.items() if kind not in ("completed", "invalid")}
        if final or cell["n"] == 0:
            trouble.append(f"{cell['name']}: {outcomes or 'no trial'}")
    journal = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    for trial in (line for line in journal if line["line"] == "trial"):
        name = "/".join(trial["cell"].values())
        if trial["outcome"] == "invalid" and trial["attempt"] > 0:
            trouble.append(f"{name}: invalid twice: {trial['reason']}")
        elif trial["outcome"] != "completed":
            print(f"note: {name}: {trial['outcome']} at {trial['stage']}: {trial['reason']}")
    print("\n".join(trouble) or f"all {expected} cells are complete")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), int(sys.argv[2])))
