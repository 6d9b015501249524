"""Every test that takes `values` runs once for each feature of the chart."""

import pytest

from chart import FEATURES


def pytest_generate_tests(metafunc):
    if "values" in metafunc.fixturenames:
        metafunc.parametrize("values", FEATURES, ids=lambda path: path.name.removesuffix("-values.yaml"))


@pytest.fixture(scope="session", autouse=True)
def there_are_features():
    assert len(FEATURES) >= 9
