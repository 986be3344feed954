"""What the installed diffusers can do, read from its source: importing it would take seconds."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from promptavideo.errors import InputError


class Source:
    """The source of the installed diffusers."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @classmethod
    def installed(cls) -> "Source | None":
        """The installed source; None without diffusers, since a workflow may be planned in another environment."""
        package = importlib.util.find_spec("diffusers")
        return cls(Path(package.origin)) if package and package.origin else None

    def find(self, name: str, where: str) -> ast.ClassDef:
        """The class that diffusers has under a name.

        Raises:
            InputError: It has none; the message begins with `where`.
        """
        found = _find_class(self._root, name)
        if found is None:
            raise InputError(f"{where}: diffusers {importlib.metadata.version('diffusers')} has no class {name}")
        return found


def arguments(found: ast.ClassDef, function: str) -> set[str] | None:
    """The arguments of a class's own function; None if it does not tell (it inherits the function, or takes any)."""
    for node in found.body:
        if isinstance(node, ast.FunctionDef) and node.name == function and node.args.kwarg is None:
            return {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)} - {"self"}
    return None


def fields(found: ast.ClassDef) -> set[str]:
    """The fields of a data class."""
    return {
        node.target.id for node in found.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def check_settings(where: str, owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that a class takes every setting that is given to it.

    Raises:
        InputError: It does not; the message begins with `where`.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            raise InputError(f"{where}.{name}: {owner} takes no such setting; known: {', '.join(known) or 'none'}")


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _find_class(path: Path, name: str) -> ast.ClassDef | None:
    """A class defined in a module, or in a module beside it from which it is imported."""
    for node in ast.walk(_parse(path)):
        if isinstance(node, ast.ClassDef) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and node.level == 1 and any(alias.name == name for alias in node.names):
            target = path.parent.joinpath(*(node.module or "").split("."))
            for source in (target / "__init__.py", target.with_suffix(".py")):
                if source.is_file():
                    return _find_class(source, name)
    return None
