from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

from ctbench_core import metrics

MODULES = [f"{metrics.__name__}.{module.name}" for module in pkgutil.iter_modules(metrics.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_worked_examples_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_name_is_there():
    assert [name for name in metrics.__all__ if not hasattr(metrics, name)] == []
    assert list(metrics.__all__) == sorted(metrics.__all__)
