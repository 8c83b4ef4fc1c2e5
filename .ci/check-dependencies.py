#!/usr/bin/env python3
"""What cargo-deny checks and can be known offline: sources and licences of all dependencies."""

import json
import subprocess
import sys

ALLOWED = {
    "MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Zlib",
    "Unicode-3.0", "Unlicense", "0BSD", "CC0-1.0", "MIT-0", "BSL-1.0",
}
REGISTRY = "registry+"


def allowed(expression: str) -> bool:
    """Whether a licence expression can be met: each AND part by one of its OR alternatives."""
    expression = expression.replace("/", " OR ").replace("(", "").replace(")", "")
    return all(
        any(choice.strip() in ALLOWED for choice in part.split(" OR ")) for part in expression.split(" AND ")
    )


def main() -> int:
    command = ["cargo", "metadata", "--format-version", "1", "--all-features", "--locked"]
    metadata = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    trouble = []
    for package in metadata["packages"]:
        name = f"{package['name']} {package['version']}"
        if package["source"] is not None and not package["source"].startswith(REGISTRY):
            trouble.append(f"{name} comes from {package['source']}, not from the registry")
        if not allowed(package["license"] or "none"):
            trouble.append(f"{name} has the licence {package['license']}")
    print("\n".join(trouble) or f"{len(metadata['packages'])} packages: sources and licences are fine")
    return 1 if trouble else 0


if __name__ == "__main__":
    sys.exit(main())
