"""Writes the dashboards as JSON: `python dashboards/src/build.py`.

With `--check` nothing is written; the exit status is 1 if a file is not what the source makes. A
folder may be named; it is the one above this one otherwise.
"""

import argparse
import json
import pathlib
import sys

from grafana_foundation_sdk.cog.encoder import JSONEncoder

import exporter
import task
import tasks


def files() -> dict[str, str]:
    """The text of each file, by its name."""
    built = {
        "tasks.json": tasks.build(),
        "task.json": task.build(),
        "exporter.json": exporter.build(),
    }
    return {
        name: json.dumps(it, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, it in built.items()
    }


def main() -> int:
    """The exit status."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true")
    above = pathlib.Path(__file__).resolve().parent.parent
    arguments.add_argument("folder", nargs="?", type=pathlib.Path, default=above)
    chosen = arguments.parse_args()
    status = 0
    for name, text in files().items():
        file = chosen.folder / name
        if not chosen.check:
            file.write_text(text, encoding="utf-8")
        elif not file.exists() or file.read_text(encoding="utf-8") != text:
            print(f"{name} is not what the source makes: run dashboards/src/build.py")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
