from __future__ import annotations

import doctest
import importlib
import pkgutil
from types import FunctionType

import pytest

from ctbench_core import metrics

MODULES = [f"{metrics.__name__}.{module.name}" for module in pkgutil.iter_modules(metrics.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_the_worked_examples_hold(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_function_is_documented():
    public = {name: value for name, value in vars(metrics).items() if isinstance(value, (FunctionType, type))}
    assert len(public) > 20
    assert [name for name, value in public.items() if not value.__doc__] == []
