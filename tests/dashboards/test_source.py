"""The JSON that is committed is what the source makes."""

import subprocess
import sys

from grafana import FILES, FOLDER

BUILD = FOLDER / "src/build.py"


def test_the_files_are_what_the_source_builds():
    command = [sys.executable, "-W", "ignore", str(BUILD), "--check"]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout


def test_a_file_that_was_edited_by_hand_is_noticed(tmp_path):
    for file in FILES:
        (tmp_path / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "task.json").write_text("{}", encoding="utf-8")
    command = [sys.executable, "-W", "ignore", str(BUILD), "--check", str(tmp_path)]
    checked = subprocess.run(command, capture_output=True, text=True)
    assert checked.returncode == 1
    assert checked.stdout == "task.json is not what the source makes: run dashboards/src/build.py\n"
