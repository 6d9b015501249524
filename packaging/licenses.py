#!/usr/bin/env python3
"""Prints the licences of all software of others that is linked into the program, with their texts as the
crates carry them. Fails for a crate that has none.

    packaging/licenses.py TARGET_TRIPLE
"""

import collections
import json
import pathlib
import re
import subprocess
import sys

TEXTS = re.compile(r"(LICEN[CS]E|COPYING|NOTICE|UNLICENSE|COPYRIGHT)", re.IGNORECASE)


def linked(metadata):
    """The packages of others that the program is linked with: no build scripts' and no tests'
    dependencies."""
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    packages = {package["id"]: package for package in metadata["packages"]}
    is_macro = lambda it: any("proc-macro" in target["kind"] for target in packages[it]["targets"])
    ours = set(metadata["workspace_members"])
    root = metadata["resolve"]["root"]
    found, ahead = set(), [root]
    while ahead:
        for dependency in nodes[ahead.pop()]["deps"]:
            normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            package = dependency["pkg"]
            if normal and package not in found and not is_macro(package):
                found.add(package)
                ahead.append(package)
    return sorted((packages[it] for it in found - ours), key=lambda it: (it["name"], it["version"]))


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    files = {path for path in folder.iterdir() if path.is_file() and TEXTS.match(path.name)}
    if package["license_file"]:
        files.add(folder / package["license_file"])
    for path in sorted(files):
        yield path.read_text(encoding="utf-8", errors="replace").strip()


def main(target):
    command = ["cargo", "metadata", "--locked", "--format-version=1", f"--filter-platform={target}"]
    packages = linked(json.loads(subprocess.check_output(command)))
    # Crates of one family share their texts.
    users, bare = collections.defaultdict(list), []
    for package in packages:
        found = list(texts(package))
        if not package["license"] and not found:
            sys.exit(f"licenses: {package['name']} {package['version']} names no licence")
        if not found:
            bare.append(package)
        for text in found:
            users[text].append(f"{package['name']} {package['version']}")
    print("dbtask-exporter is linked with software of others, under these licences.\n")
    for package in packages:
        print(f"{package['name']} {package['version']}: {package['license'] or 'see its text'}")
    if bare:
        print("\nThese crates carry no text of their own; the licence that they name applies:")
        print(", ".join(f"{it['name']} ({it['license']}, {it['repository']})" for it in bare))
    for text, crates in users.items():
        print(f"\n{'=' * 98}\n{', '.join(crates)}\n\n{text}")


if __name__ == "__main__":
    main(*sys.argv[1:])
