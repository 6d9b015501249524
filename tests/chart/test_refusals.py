"""Values that would not work, or do harm, are refused with words that say what to do.

Each file in `refused/` begins with what must be said of it.
"""

import pathlib

import pytest

from chart import CHART, helm

REFUSED = sorted((pathlib.Path(__file__).parent / "refused").glob("*.yaml"))


@pytest.mark.parametrize("major", [3, 4])
@pytest.mark.parametrize("path", REFUSED, ids=lambda path: path.stem)
def test_it_is_refused_with_readable_words(path, major):
    wanted = [line.removeprefix("# ") for line in path.read_text().splitlines() if line.startswith("# ")]
    assert wanted
    done = helm(major, "template", "tasks", CHART, "--values", path)
    assert done.returncode != 0
    for words in wanted:
        assert words in done.stderr
    assert "nil pointer" not in done.stderr and "can't evaluate" not in done.stderr


def test_there_are_enough_of_them():
    assert len(REFUSED) >= 10


@pytest.mark.parametrize("major", [3, 4])
def test_all_problems_are_said_at_once(major):
    done = helm(major, "template", "tasks", CHART, "--set", "replicas=2,serviceMonitor.enabled=true,podMonitor.enabled=true")
    assert done.returncode != 0
    for words in ["config.sources is empty", "replicas is more than 1", "serviceMonitor and podMonitor"]:
        assert words in done.stderr
