"""What a command line is composed for: one command, its settings' class, its YAML, and which words it takes."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_origin, get_type_hints

EXPERIMENT = "experiment"
"""The group of named runs; for every command it also takes a file."""


@dataclass(frozen=True)
class Target:
    """One command, as the command line sees it.

    Attributes:
        name: of the command.
        schema: its settings' class.
        configs: folder of the YAML files: ``<name>.yaml``, and one folder for each group.
        positional: the setting that bare arguments go to; '' if it takes none.
        spelled: what that setting is called on the command line, where that is another name.
        folders: further ones, of the user's, that hold groups.
    """

    name: str
    schema: type
    configs: Path
    positional: str = ""
    spelled: str = ""
    folders: tuple[Path, ...] = ()

    @cached_property
    def kinds(self) -> dict[str, str]:
        """Each setting's full key and how the command line takes its value.

        A literal kind of `pathoprog.settings`, ``flag`` (true or false), ``list``, ``int``, or ``""``.
        """
        return dict(_kinds(self.schema))

    @cached_property
    def groups(self) -> list[str]:
        """Groups of named values that the command's YAML takes; and `experiment`, of which any command takes a file."""
        text = (self.configs / f"{self.name}.yaml").read_text(encoding="utf-8")
        folders = [path.name for path in self.configs.iterdir() if path.is_dir()]
        taken = [name for name in folders if re.search(rf"^\s*- (override /?)?{name}:", text, flags=re.MULTILINE)]
        return sorted({*taken, EXPERIMENT})

    @cached_property
    def experiments(self) -> list[str]:
        """Names that ``experiment=`` takes: the package's, where the command's YAML has the group, and the user's."""
        text = (self.configs / f"{self.name}.yaml").read_text(encoding="utf-8")
        own = (self.configs / EXPERIMENT).glob("*.yaml") if f"- {EXPERIMENT}:" in text else ()
        theirs = [path for folder in self.folders for path in (folder / EXPERIMENT).glob("*.y*ml")]
        return sorted({path.stem for path in (*own, *theirs)})

    @property
    def words(self) -> list[str]:
        """Every key that the command takes."""
        return [*self.kinds, *self.groups, *filter(None, [self.spelled])]


def _kinds(schema: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    types = get_type_hints(schema)
    plain = {bool: "flag", int: "int"}
    for field in dataclasses.fields(schema):
        kind = types[field.name]
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            yield from _kinds(kind, f"{prefix}{field.name}.")
        else:
            listed = "list" if get_origin(kind) is list else ""
            yield f"{prefix}{field.name}", field.metadata.get("kind", "") or plain.get(kind, listed)
