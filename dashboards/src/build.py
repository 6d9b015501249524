"""Writes the dashboards as JSON beside this folder: `python dashboards/src/build.py`."""

import json
import pathlib

from grafana_foundation_sdk.cog.encoder import JSONEncoder

import exporter
import task
import tasks

FOLDER = pathlib.Path(__file__).resolve().parent.parent


def files() -> dict[str, str]:
    """The text of each file, by its name."""
    built = {"tasks.json": tasks.build(), "task.json": task.build(), "exporter.json": exporter.build()}
    return {
        name: json.dumps(it, cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, it in built.items()
    }


if __name__ == "__main__":
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
