"""Read YAML files that a user wrote: settings and instrument tables."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from .exceptions import SettingsError
from .text import format_value

__all__ = ["parse_yaml", "read_regular_file", "read_yaml_text"]

#: No settings file is larger.
LARGEST_FILE_BYTES = 1 << 17

#: No value is longer; reading the digits of a number takes time that grows with their square.
LONGEST_SCALAR = 4096

_INT, _FLOAT, _MERGE = (f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "merge"))

#: Numbers as YAML 1.2 has them: 1e-3 is one.
_NUMBERS = {
    _INT: re.compile(r"[-+]?(?:0|[1-9][0-9]*|0x[0-9a-fA-F]+)$"),
    _FLOAT: re.compile(
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|[-+]?\.(?:inf|Inf|INF)$|\.(?:nan|NaN|NAN)$"
    ),
}
#: Numbers of base 8 (010) and 60 (11:00) in YAML 1.1.
_OTHER_BASE = re.compile(r"[-+]?(?:0[0-9_]+|[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)")


class _Loader(yaml.SafeLoader):
    """A safe loader that notes duplicate keys and refuses tags, anchors and ambiguous numbers."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the library declares it so
        first: [(tag, pattern) for tag, pattern in resolvers if tag not in _NUMBERS]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.duplicates: list[tuple[Any, int]] = []

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        value = getattr(event, "value", None) or ""
        problem = None
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            problem = "anchors and aliases are not read, write the value itself"
        elif getattr(event, "tag", None) is not None:
            problem = "tags are not read, write the plain value"
        elif len(value) > LONGEST_SCALAR:
            problem = f"a value has more than {LONGEST_SCALAR} characters"
        elif isinstance(event, yaml.ScalarEvent) and event.implicit[0] and _OTHER_BASE.fullmatch(value):
            problem = (
                f"{value} may be read as a number of base 8 or 60: write a decimal number without leading zeros, "
                "or quotes around a text"
            )
        if problem is not None:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE:
                raise yaml.constructor.ConstructorError(None, None, "merge keys are not read", key_node.start_mark)
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a word", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                self.duplicates.append((key, key_node.start_mark.line + 1))
            seen.add(key)
        return super().construct_mapping(node, deep)


for _tag, _pattern in _NUMBERS.items():
    _Loader.add_implicit_resolver(_tag, _pattern, list("-+.0123456789"))


def parse_yaml(text: str, name: str) -> tuple[Mapping[Any, Any], list[str]]:
    """Parse the text of a file that a user wrote.

    Parameters
    ----------
    text : str
        YAML with a mapping at its top level; an empty text is an empty mapping. Numbers are those of YAML 1.2.
    name : str
        Name of the file, for messages.

    Returns
    -------
    mapping : mapping
    faults : list of str
        One line for each key that is given twice.

    Raises
    ------
    SettingsError
        When the text cannot be read; when it uses tags, anchors, aliases or merge keys; when a number has leading
        zeros (010) or colons (11:00).
    """
    try:
        loader = _Loader(text)
        content = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise SettingsError(f"{name}: {line}not usable YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, ArithmeticError, RecursionError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise SettingsError(f"{name}: not usable YAML: {reason}") from error
    if content is None:
        content = {}
    if not isinstance(content, Mapping):
        raise SettingsError(f"{name}: found {format_value(content)}, expected sections with keys and values")
    return content, [
        f"{name}: line {line}: {format_value(key)} is given twice: keep one" for key, line in loader.duplicates
    ]


def read_regular_file(path: Path, limit: int) -> bytes:
    """Read a file, at most some bytes of it; a pipe or device is refused at once.

    Raises
    ------
    OSError
        When it cannot be read, is no regular file, or is a pseudo-file that waits for its content.
    """
    # without O_NONBLOCK a pipe that has no writer would stop the program
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        content: bytes | None = stream.read(limit)
    if content is None:
        raise OSError(errno.EAGAIN, "not a file with content")
    return content


def read_yaml_text(path: Path) -> str:
    """Read the text of a file that a user wrote.

    Parameters
    ----------
    path : pathlib.Path
        A file of at most 128 KiB, UTF-8.

    Returns
    -------
    str

    Raises
    ------
    SettingsError
        When the file cannot be read, is larger or is not UTF-8.
    """
    try:
        content = read_regular_file(path, LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SettingsError(f"{path}: not readable: {reason}: expected a file of text") from error
    if len(content) > LARGEST_FILE_BYTES:
        raise SettingsError(f"{path}: more than {LARGEST_FILE_BYTES} bytes: no settings file is that large")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: byte {error.start} is not UTF-8: save the file as UTF-8") from error
