"""Which fields of which classes are read in the code: names are followed by their annotations, as far as these go.

A type is a set of class names: those that an annotation names anywhere (so that a list of X, or X or None, counts as
X). Followed are parameters, assignments, loops, `self`, attributes of the project's own classes, and what functions say
they return. What is not followed is not read: the answer may be too small, never too large by a chance likeness of
names in another class.
"""

import ast
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

Types = frozenset[str]
NOTHING: Types = frozenset()
COPIES = ("replace", "deepcopy", "copy")


def named_in(annotation: ast.expr | None) -> Types:
    """Every name in an annotation, in those that are written as strings too."""
    if annotation is None:
        return NOTHING
    found: set[str] = set()
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                found |= named_in(ast.parse(node.value, mode="eval").body)
            except SyntaxError:  # words in an annotation, such as the description of a parameter
                continue
    return frozenset(found)


class Reads(ast.NodeVisitor):
    """Reads of all files given: `read` holds (class, field), `handed` classes whose fields are all handed on."""

    def __init__(self, files: Iterable[Path]):
        self.read: set[tuple[str, str]] = set()
        self.handed: set[str] = set()
        self.attributes: dict[tuple[str, str], Types] = defaultdict(frozenset)
        self.bases: dict[str, Types] = defaultdict(frozenset)
        self.returns: dict[str, Types] = defaultdict(frozenset)
        self.protocols: dict[str, set[str]] = {}
        self._scope: dict[str, Types] = {}
        self._texts: dict[str, set[str]] = defaultdict(set)
        self._class = ""
        trees = [self._renamed(ast.parse(path.read_text(encoding="utf-8"))) for path in files]
        for tree in trees:
            self._declare(tree)
        for tree in trees:
            self._scope, self._class = {}, ""
            self._texts.clear()
            self.visit(tree)

    @staticmethod
    def _renamed(tree: ast.Module) -> ast.Module:
        """Classes that are imported under another name, by their own."""
        names = {
            item.asname: item.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            for item in node.names
            if item.asname
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id in names:
                node.id = names[node.id]
        return tree

    def _declare(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                self.returns[node.name] |= {node.name}
                self.bases[node.name] |= frozenset().union(*map(named_in, node.bases))
                if "Protocol" in self.bases[node.name]:
                    lines = [item.target for item in node.body if isinstance(item, ast.AnnAssign)]
                    self.protocols[node.name] = {line.id for line in lines if isinstance(line, ast.Name)}
                for item in node.body:
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                        self.attributes[node.name, item.target.id] |= named_in(item.annotation)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.returns[node.name] |= named_in(node.returns)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer, self._class = self._class, node.name
        self.generic_visit(node)
        self._class = outer

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer, self._scope = self._scope, dict(self._scope)
        given = node.args
        for argument in [*given.posonlyargs, *given.args, *given.kwonlyargs]:
            self._scope[argument.arg] = named_in(argument.annotation)
        if self._class and given.args and given.args[0].arg == "self":
            self._scope["self"] = frozenset({self._class})
        self.generic_visit(node)
        self._scope = outer

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        self.visit_FunctionDef(node)  # type: ignore[arg-type]

    def _bind(self, target: ast.expr, value: Types, source: ast.expr | None = None) -> None:
        if isinstance(target, ast.Name) and isinstance(source, ast.Tuple):
            self._texts[target.id] |= {str(item.value) for item in source.elts if isinstance(item, ast.Constant)}
        if isinstance(target, ast.Tuple | ast.List):
            several = source.elts if isinstance(source, ast.Tuple | ast.List) else []
            for k, one in enumerate(target.elts):
                self._bind(one, self.type_of(several[k]) if k < len(several) else value)
        elif isinstance(target, ast.Name):
            self._scope[target.id] = self._scope.get(target.id, NOTHING) | value
        elif isinstance(target, ast.Attribute):
            for owner in self.type_of(target.value):
                self.attributes[owner, target.attr] |= value

    def visit_Assign(self, node: ast.Assign) -> None:
        value = self.type_of(node.value)
        for target in node.targets:
            self._bind(target, value, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._bind(node.target, named_in(node.annotation))
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._bind(node.target, self.type_of(node.value))
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._bind(node.target, self.type_of(node.iter), node.iter)
        self.generic_visit(node)

    def visit_With(self, node: ast.With) -> None:
        for item in node.items:
            if item.optional_vars is not None:
                self._bind(item.optional_vars, self.type_of(item.context_expr))
        self.generic_visit(node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        outer, self._scope = self._scope, dict(self._scope)
        for part in node.generators:
            self._bind(part.target, self.type_of(part.iter), part.iter)
        self.generic_visit(node)
        self._scope = outer

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension  # noqa: N815

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Load):
            self.read |= {(owner, node.attr) for owner in self.type_of(node.value)}
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        if called == "fields" and isinstance(node.args[0], ast.Name):
            self.handed.add(node.args[0].id)
        if called == "getattr":
            asked = node.args[1]
            names = {str(asked.value)} if isinstance(asked, ast.Constant) else set()
            names |= self._texts[asked.id] if isinstance(asked, ast.Name) else set()
            self.read |= {(owner, name) for owner in self.type_of(node.args[0]) for name in names}
        self.generic_visit(node)

    def _attribute(self, owner: str, name: str) -> Types:
        """What an attribute is of, in the class or what it inherits from."""
        inherited = (self._attribute(base, name) for base in self.bases.get(owner, NOTHING) - {owner})
        return self.attributes.get((owner, name), NOTHING).union(*inherited)

    def type_of(self, node: ast.expr) -> Types:
        """The classes that an expression may be of, as far as they are followed."""
        if isinstance(node, ast.Name):
            return self._scope.get(node.id, NOTHING)
        if isinstance(node, ast.Attribute):
            owners = self.type_of(node.value)
            return frozenset().union(*(self._attribute(owner, node.attr) for owner in owners))
        if isinstance(node, ast.Call):
            function = node.func
            name = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
            if name in COPIES and node.args:
                return self.type_of(node.args[0])
            if isinstance(function, ast.Attribute) and name in ("values", "items", "get", "copy", "pop"):
                return self.type_of(function.value)
            if name in ("enumerate", "zip", "list", "sorted", "tuple", "next", "iter", "reversed"):
                return frozenset().union(*(self.type_of(argument) for argument in node.args))
            return self.returns.get(name, NOTHING)
        if isinstance(node, ast.Subscript | ast.Starred | ast.Await):
            return self.type_of(node.value)
        if isinstance(node, ast.IfExp):
            return self.type_of(node.body) | self.type_of(node.orelse)
        if isinstance(node, ast.BoolOp):
            return frozenset().union(*(self.type_of(value) for value in node.values))
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            return frozenset().union(*(self.type_of(item) for item in node.elts))
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.SetComp):
            outer, self._scope = self._scope, dict(self._scope)
            for part in node.generators:
                self._bind(part.target, self.type_of(part.iter))
            found = self.type_of(node.elt)
            self._scope = outer
            return found
        return NOTHING
