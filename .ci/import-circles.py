#!/usr/bin/env python3
"""Finds circles of imports between the modules of a crate: `.ci/import-circles.py meter cpuload …`.

A module is a file or a folder directly under `src`; what tests import does not count, and the crate's root
(`crate::Error` and other re-exports) is no module. Modules inside a folder may know each other's folder."""
import re
import sys
from pathlib import Path


def imports(text):
    """Names of the top modules that `text` imports from its crate, its tests left out."""
    text = re.split(r"#\[cfg\(test\)\]\s*\nmod tests", text)[0]
    text = re.sub(r"//.*", "", text)
    found = set()
    for match in re.finditer(r"\bcrate::(\{)?", text):
        rest = text[match.end():]
        if not match.group(1):
            found.add(re.match(r"\w*", rest).group())
            continue
        depth, name = 1, ""
        for char in rest:
            if char == "{":
                depth += 1
            elif char == "}":
                depth -= 1
            if depth == 1 and char == "," or depth == 0:
                found.add(re.match(r"\w*", name.strip()).group())
                name = ""
                if depth == 0:
                    break
            else:
                name += char
    return found


def circles(crate):
    source, graph = Path(crate) / "src", {}
    for file in source.rglob("*.rs"):
        top = file.relative_to(source).parts[0].removesuffix(".rs")
        if top in ("lib", "main"):
            continue
        if file.name == "tests.rs" or "tests" in file.relative_to(source).parts:
            continue
        graph.setdefault(top, set()).update(imports(file.read_text()))
    graph = {name: (found & graph.keys()) - {name} for name, found in graph.items()}
    found, done = [], set()

    def walk(name, path):
        if name in path:
            found.append(path[path.index(name):] + [name])
            return
        if name in done:
            return
        for other in sorted(graph[name]):
            walk(other, path + [name])
        done.add(name)

    for name in sorted(graph):
        walk(name, [])
    return found


bad = False
for crate in sys.argv[1:]:
    for circle in circles(crate):
        bad = True
        print(f"{crate}: a circle of imports: {' -> '.join(circle)}", file=sys.stderr)
sys.exit(bad)
