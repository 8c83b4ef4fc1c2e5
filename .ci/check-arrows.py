#!/usr/bin/env python3
"""Fails if a crate depends on one that stands above it, or if a platform is named outside its own folder.

The table is the one of ARCHITECTURE.md. A crate can name only what its manifest lists, so the compiler holds what is
checked here. A new platform is found by itself; a new crate needs a row.
"""

import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = {"udpsend", "diskprobe", "cpuload", "irqwatch", "netprobe"}
# What each crate may depend on, besides `meter`; tests too.
ARROWS = {
    "meter": set(),
    **{tool: set() for tool in TOOLS},
    # The measuring tools' schemas, which plans are checked against, come through here.
    "tools": TOOLS,
    "plan": {"tools"},
    "domain": {"tools"},
    "stats": set(),
    "results": {"plan", "tools"},
    "report": {"plan", "results", "stats", "tools"},
    "lab": {"domain", "plan", "tools"},
    "platform": {"domain", "lab", "plan", "tools"},
    "iomatrix": {"domain", "lab", "plan", "platform", "report", "results", "stats", "tools"},
    "peers": {"domain", "stats", "tools"},
}
# Nothing depends on these; they may depend on everything.
TOP = {"xtask", "benches", "conformance"}
# Lines that have a platform's word and mean something else.
OTHER_MEANINGS = {
    "xtask/platform/src/doctor/mod.rs": ['"kvm-clock", "xen", "arch_sys_counter"'],
}
# Names that are also everyday words here: only `platform::NAME` and a plan's kind are looked for.
COMMON_WORDS = {"namespaces", "ssh"}


def arrows() -> list[str]:
    command = ["cargo", "metadata", "--no-deps", "--offline", "--format-version", "1"]
    metadata = json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)
    packages = {package["name"]: package for package in metadata["packages"]}
    wrong = []
    for name, package in packages.items():
        if name in TOP:
            continue
        if name not in ARROWS:
            wrong.append(f"{name} has no row in .ci/check-arrows.py and ARCHITECTURE.md: say what it may depend on")
            continue
        within = {dependency["name"] for dependency in package["dependencies"]} & packages.keys()
        for other in sorted(within - ARROWS[name] - {"meter", name}):
            wrong.append(f"{name} depends on {other}, against the arrows of ARCHITECTURE.md")
    return wrong


def platforms() -> list[str]:
    home = ROOT / "xtask/platform/src"
    folders = [path.parent.name for path in home.glob("*/mod.rs") if " Kind for " in path.read_text()]
    wrong = [] if len(folders) >= 3 else [f"found the platforms {folders} only; has the registry moved?"]
    sources = [path for crate in ("xtask", "benches/peers") for path in (ROOT / crate).rglob("*.rs")]
    for path in sources:
        within = path.relative_to(ROOT).as_posix()
        if "/tests" in within or path == home / "lib.rs":
            continue
        lines = path.read_text().split("#[cfg(test)]\nmod tests")[0].splitlines()
        for name in folders:
            if within.startswith(f"xtask/platform/src/{name}/"):
                continue
            patterns = [rf"\b(crate|platform|super)::{name}\b", rf'kind[^"\n]*== "{name}"']
            if name not in COMMON_WORDS:
                patterns.append(rf"(?i)(?<![a-z]){name}(?![a-z])")
            for number, line in enumerate(lines, 1):
                if any(meaning in line for meaning in OTHER_MEANINGS.get(within, [])):
                    continue
                if any(re.search(pattern, line) for pattern in patterns):
                    wrong.append(f"{within}:{number}: names the platform `{name}` outside its folder: {line.strip()}")
    return wrong


if __name__ == "__main__":
    trouble = arrows() + platforms()
    print("\n".join(trouble), file=sys.stderr, end="\n" if trouble else "")
    sys.exit(1 if trouble else 0)
