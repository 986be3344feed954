"""What the installed diffusers can do, read from its source: importing it would take seconds."""

import ast
import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path

from promptavideo.errors import InputError


def installed() -> Path | None:
    """Where the installed diffusers begins; None without it, since a workflow may be planned in another environment."""
    package = importlib.util.find_spec("diffusers")
    return Path(package.origin) if package and package.origin else None


def find(root: Path, name: str, where: str) -> ast.ClassDef:
    """The class that the installed diffusers has under a name.

    Raises:
        InputError: It has none; the message begins with `where`.
    """
    found = _find_class(root, name)
    if found is None:
        raise InputError(f"{where}: diffusers {importlib.metadata.version('diffusers')} has no class {name}")
    return found


Types = Mapping[str, ast.expr | None]
"""The settings that a class takes by name, and the annotation of each."""


def arguments(found: ast.ClassDef, function: str) -> Types | None:
    """The arguments of a class's own function; None if it does not tell (it inherits the function, or takes any)."""
    node = _function(found, function)
    if node is None or node.args.kwarg is not None:
        return None
    return {argument.arg: argument.annotation for argument, _ in _defaulted(node)}


def required(found: ast.ClassDef, function: str) -> list[str]:
    """The arguments of a class's own function that have no default."""
    return [argument.arg for argument, default in _defaulted(_function(found, function)) if default is None]


def defaults(found: ast.ClassDef, function: str) -> dict[str, object]:
    """The arguments of a class's own function whose default is a number, a text, true, false or none, with it."""
    given = _defaulted(_function(found, function))
    return {argument.arg: default.value for argument, default in given if isinstance(default, ast.Constant)}


def returned(found: ast.ClassDef, function: str) -> set[str]:
    """The names of what a class's own function gives, `frames` of `return WanPipelineOutput(frames=video)`."""
    node = _function(found, function)
    calls = (one.value for one in ast.walk(node) if isinstance(one, ast.Return)) if node else ()
    return {word.arg for call in calls if isinstance(call, ast.Call) for word in call.keywords if word.arg}


def fields(found: ast.ClassDef) -> Types:
    """The fields of a data class."""
    return {
        node.target.id: node.annotation
        for node in found.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def check_names(where: str, owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that a class has every name that is given to it.

    Raises:
        InputError: It does not; the message begins with `where`.
    """
    known = sorted(known)
    for name in given:
        if name not in known:
            raise InputError(f"{where}.{name}: {owner} takes no such setting; known: {', '.join(known) or 'none'}")


def check_settings(where: str, owner: str, given: Mapping[str, object], known: Types) -> None:
    """Check that a class takes every setting that is given to it, and values of these types.

    Raises:
        InputError: It does not; the message begins with `where`.
    """
    check_names(where, owner, given, known)
    for name, value in given.items():
        annotation = known[name]
        if annotation is not None and not _fits(value, annotation):
            wanted = ast.unparse(annotation).replace(" | None", "")
            raise InputError(f"{where}.{name}: {owner} takes {wanted} and no {type(value).__name__} ({value!r:.60})")


def _function(found: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == name), None)


def _defaulted(node: ast.FunctionDef | None) -> list[tuple[ast.arg, ast.expr | None]]:
    """The arguments of a function but `self`, each with its default or None."""
    if node is None:
        return []
    arguments = [*node.args.args, *node.args.kwonlyargs]
    without = len(node.args.args) - len(node.args.defaults)
    defaults = [*[None] * without, *node.args.defaults, *node.args.kw_defaults]
    return [pair for pair in zip(arguments, defaults, strict=True) if pair[0].arg != "self"]


_PLAIN: dict[str, Callable[[object], bool]] = {
    "bool": lambda value: isinstance(value, bool),
    "int": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "float": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "str": lambda value: isinstance(value, str),
}


def _fits(value: object, annotation: ast.expr) -> bool:
    """Whether a number, a text or a list of them is of an annotated type; of a type that YAML has not, none is."""
    match annotation:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _fits(value, left) or _fits(value, right)
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name](value)
        case ast.Name(id="list" | "List" | "tuple" | "Tuple"):
            return isinstance(value, list)
        case ast.Name(id="Any" | "object"):
            return True
        case ast.Constant(value=str(text)):  # an annotation in quotes
            return _fits(value, ast.parse(text, mode="eval").body)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return _fits(value, inner)
        case ast.Subscript(value=ast.Name(id="Union"), slice=ast.Tuple(elts=parts)):
            return any(_fits(value, part) for part in parts)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return value in [part.value for part in parts if isinstance(part, ast.Constant)]
        case ast.Subscript(value=ast.Name(id="list" | "List" | "tuple" | "Tuple"), slice=inner):
            parts = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            if ast.unparse(inner) == "int":  # timesteps of distilled models are published with fractions
                parts = [ast.Name("float")]
            return isinstance(value, list) and all(any(_fits(one, part) for part in parts) for one in value)
    return False


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
