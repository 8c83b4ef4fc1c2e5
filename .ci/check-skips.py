#!/usr/bin/env python3
"""Lists the tests that were skipped; fails if one was for want of something that the gate brings: root, a program."""

import pathlib
import re
import sys

SKIPPED = re.compile(r"skipped: (.*)")
OURS = re.compile(r"needs? root|is missing|is not installed|install |ip\(8\)")


def main(log: pathlib.Path) -> int:
    text = log.read_text(errors="replace")
    reasons = sorted({match[1].strip() for match in SKIPPED.finditer(text)})
    ours = [reason for reason in reasons if OURS.search(reason)]
    for reason in reasons:
        print(f"{'NOT ALLOWED' if reason in ours else 'note'}: skipped: {reason}")
    if not re.search(r"^test result: ok\. [1-9]", text, re.MULTILINE):
        print("no test ran")
        return 1
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
