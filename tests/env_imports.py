"""What running a file can import, read from its source: names are followed from function to function.

Importing a module runs its top level, which reaches only what it calls there. A function or class counts once its name
is used in code that counts, and then all of it does. So a library that imports torch inside one function needs torch
in the environments that reach that function, and in no other. Imports guarded by `except ImportError` or
`TYPE_CHECKING` need nothing.
"""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

Unit = tuple[str, str]
"""A module and a name of its top level; the empty name is what importing the module runs."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class _Module:
    """One parsed file: what its names are bound to, and what each of its top-level names stands for."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.bindings: dict[str, tuple[str, str | None]] = {}
        self.units: dict[str, list[ast.AST]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    # `import a.b` binds a; `import a.b as c` binds a.b.
                    bound = (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
                    self.bindings[bound[0]] = (bound[1], None)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    self.bindings[alias.asname or alias.name] = (node.module, alias.name)
        for statement in tree.body:
            if isinstance(statement, (*_FUNCTIONS, ast.ClassDef)):
                self.units.setdefault(statement.name, []).append(statement)
            elif isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
                targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
                for name in (node for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)):
                    self.units.setdefault(name.id, []).append(statement.value)


class Reach:
    """The third-party packages that running code of one library can import.

    Attributes:
        found: Top-level package names, each with the unit that imports it first.
        units: Everything reached.
    """

    def __init__(self, root: Path, library: str) -> None:
        self.root, self.library = root, library
        self.found: dict[str, Unit] = {}
        self.units: set[Unit] = set()
        self._pending: list[tuple[Unit, _Module]] = []

    def run(self, source: str, name: str) -> "Reach":
        """Follow a file that is run as a program.

        Args:
            source: Its text.
            name: What to call it in `found`.
        """
        module = _Module(ast.parse(source))
        self._reach((name, ""), module)
        while self._pending:
            unit, module = self._pending.pop()
            nodes = self._at_import(module.tree.body) if not unit[1] else self._inside(module.units[unit[1]])
            for node in nodes:
                self._follow(node, unit, module)
        return self

    def _reach(self, unit: Unit, module: _Module) -> None:
        if unit not in self.units:
            self.units.add(unit)
            self._pending.append((unit, module))

    def _at_import(self, body: list[ast.stmt]) -> Iterator[ast.AST]:
        """What importing a module runs: its imports, and what it calls at its top level and in its class bodies."""
        for statement in body:
            if isinstance(statement, _FUNCTIONS):
                run = [*statement.decorator_list, *statement.args.defaults, *filter(None, statement.args.kw_defaults)]
                yield from self._calls(run)
                yield from self._inside(statement.decorator_list)
            elif isinstance(statement, ast.ClassDef):
                yield from self._inside(statement.decorator_list)
                yield from self._at_import(statement.body)
            elif isinstance(statement, ast.If | ast.Try | ast.With):
                blocks = _live_blocks(statement)
                yield from self._at_import([inner for block in blocks for inner in block])
            elif isinstance(statement, ast.Import | ast.ImportFrom):
                yield statement
            else:
                yield from self._calls([statement])

    def _calls(self, nodes: list[ast.AST] | list[ast.stmt]) -> Iterator[ast.AST]:
        for node in self._inside(nodes):
            if isinstance(node, ast.Call):
                yield from self._inside([node])

    def _inside(self, nodes: "list[ast.AST] | list[ast.stmt] | list[ast.expr]") -> Iterator[ast.AST]:
        """All of some code but annotations of functions, which nothing runs, and dead or guarded imports."""
        stack: list[ast.AST] = list(nodes)
        while stack:
            node = stack.pop()
            yield node
            if isinstance(node, ast.If | ast.Try):
                stack += [inner for block in _live_blocks(node) for inner in block]
                stack += [node.test] if isinstance(node, ast.If) else []
            elif isinstance(node, _FUNCTIONS):
                stack += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults), *node.body]
            else:
                stack += ast.iter_child_nodes(node)

    def _follow(self, node: ast.AST, unit: Unit, module: _Module) -> None:
        match node:
            case ast.Import():
                for alias in node.names:
                    self._import(alias.name, unit)
            case ast.ImportFrom(module=str(name)):
                self._import(name, unit)
                for alias in node.names:
                    if self._read(f"{name}.{alias.name}"):
                        self._import(f"{name}.{alias.name}", unit)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name))]):
                self._import(name, unit)
            case ast.Name(ctx=ast.Load()):
                self._resolve(unit[0], module, node.id)
            case ast.Attribute():
                self._attribute(node, unit[0], module)

    def _import(self, name: str, unit: Unit) -> None:
        top = name.split(".")[0]
        if top == self.library:
            parts = name.split(".")
            for length in range(1, len(parts) + 1):
                package = ".".join(parts[:length])
                if module := self._read(package):
                    self._reach((package, ""), module)
        elif top not in sys.stdlib_module_names:
            self.found.setdefault(top, unit)

    def _resolve(self, where: str, module: _Module, name: str) -> str | None:
        """Reach what a name stands for; the module's name if it stands for a module of the library."""
        if name in module.units:
            self._reach((where, name), module)
            return None
        if name not in module.bindings:
            return None
        source, attribute = module.bindings[name]
        if source.split(".")[0] != self.library:
            return None
        if attribute is None:
            return source
        if self._read(f"{source}.{attribute}"):
            return f"{source}.{attribute}"
        target = self._read(source)
        return self._resolve(source, target, attribute) if target else None

    def _attribute(self, node: ast.Attribute, where: str, module: _Module) -> str | None:
        """Reach `module.name`; the module's name if it is one again."""
        match node.value:
            case ast.Name(id=name):
                owner = self._resolve(where, module, name)
            case ast.Attribute() as inner:
                owner = self._attribute(inner, where, module)
            case _:
                return None
        if owner is None:
            return None
        if self._read(f"{owner}.{node.attr}"):
            return f"{owner}.{node.attr}"
        target = self._read(owner)
        return self._resolve(owner, target, node.attr) if target else None

    def _read(self, name: str) -> _Module | None:
        """A module of the library, parsed; None if there is no such file."""
        if name.split(".")[0] != self.library:
            return None
        path = self.root.joinpath(*name.split("."))
        for source in (path / "__init__.py", path.with_suffix(".py")):
            if source.is_file():
                return _parse(source)
        return None


@cache
def _parse(path: Path) -> _Module:
    return _Module(ast.parse(path.read_text(encoding="utf-8")))


def _live_blocks(statement: ast.stmt) -> list[list[ast.stmt]]:
    """The blocks that run when types are not being checked and no optional package is there."""
    match statement:
        case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
            return [statement.orelse]
        case ast.If():
            return [statement.body, statement.orelse]
        case ast.Try():
            body = statement.body
            if any(_catches_import_error(handler.type) for handler in statement.handlers):
                body = [inner for inner in body if not isinstance(inner, ast.Import | ast.ImportFrom)]
            handlers = [handler.body for handler in statement.handlers]
            return [body, *handlers, statement.orelse, statement.finalbody]
        case ast.With():
            return [statement.body]
    return []


def _catches_import_error(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(name, ast.Name) and name.id in ("ImportError", "ModuleNotFoundError") for name in names)
