"""Each line of help is understood alone: it says what the setting is, without the line above it."""

import dataclasses
import re
from collections.abc import Iterator
from typing import Any

import pytest

from pathoprog import cli


def lines(settings: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Key and help of every setting and group."""
    for field in dataclasses.fields(settings):
        yield f"{prefix}{field.name}", field.metadata.get("help", "")
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            yield from lines(value, f"{prefix}{field.name}.")


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_a_help_line_is_understood_alone(name):
    hanging = [
        f"{key}: {text!r}"
        for key, text in lines(cli.settings_class(name)())
        if not text
        or re.match(r"(…|\.\.\.|of |in place of|and |or |as above)", text)
        or re.search(r"\bso many\b", text)
    ]
    assert not hanging, "\n".join(hanging)
