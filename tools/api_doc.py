"""Write docs/api/ from the packages' docstrings: every public name, with its signature and what it promises.

`python tools/api_doc.py` writes it; `--check` only says whether it is current (exit code 1 where it is not). The source
is read, not imported: defaults stay as they were written, and no page depends on the machine that made it.
"""

from __future__ import annotations

import ast
import functools
import itertools
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "api"
PACKAGES = (
    "kube",
    "informers",
    "reconcile",
    "reconcile.rollouts",
    "reconcile.shards",
    "resourcemgr",
    "routing",
    "embedded",
    "embedded.server",
    "testing",
    "workflow",
    "handlers.plugins",
    "compiler",
    "storage",
    "status",
)

NOTE = "Made from the docstrings by `make api-doc`; do not edit."
WIDTH = 100  # characters of a signature, beyond which each parameter gets a line

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.AnnAssign | ast.Assign
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Public(NamedTuple):
    """One name that a package exports. `following` is the statement after it: a constant's docstring, maybe."""

    name: str
    module: str
    definition: Definition
    following: ast.stmt | None


def pages() -> dict[str, str]:
    """Every page by its file name."""
    found = {f"{package}.md": page(f"propeller.{package}") for package in PACKAGES}
    return {"README.md": index(), **found}


def index() -> str:
    lines = ["# API reference", "", NOTE, ""]
    for package in PACKAGES:
        doc = docstring_of(parsed(source_of(f"propeller.{package}")))
        purpose = " ".join(doc.partition("\n\n")[0].split())
        lines.append(f"- [`propeller.{package}`]({package}.md): {purpose}")
    return "\n".join([*lines, ""])


def page(package: str) -> str:
    """One package: module by module, what it promises and what it exports."""
    names = public_names(package)
    parts = [f"# {package}", NOTE, prose(docstring_of(parsed(source_of(package))))]
    contents = (f"[`{one.name}`](#{one.name.lower()})" for one in sorted(names, key=lambda one: one.name.lower()))
    parts.append(" · ".join(contents))
    module = ""
    for one in names:
        if one.module != module:
            module = one.module
            parts += ["---", prose(docstring_of(parsed(source_of(module))))]
        parts += described(one)
    return "\n\n".join(part for part in parts if part) + "\n"


def public_names(package: str) -> list[Public]:
    """What `__all__` names, in the order in which the package imports it."""
    tree = parsed(source_of(package))
    exported = next(value for name, value in constants(tree) if name == "__all__")
    wanted = set(ast.literal_eval(exported))
    found = [find(package, name) for name in names_in(tree) if name in wanted]
    missing = wanted - {one.name for one in found}
    if missing:
        raise SystemExit(f"{package}: __all__ names what is not defined: {', '.join(sorted(missing))}")
    return found


def find(module: str, name: str) -> Public:
    """Where a name is defined, through however many packages it is handed on."""
    body = parsed(source_of(module)).body
    for node, following in itertools.zip_longest(body, body[1:]):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(node.module, alias.name)
        elif defined_by(node) == name and not is_overload(node):
            assert isinstance(node, Definition)
            return Public(name, module, node, following)
    raise SystemExit(f"{module} does not define {name}")


def is_overload(node: ast.stmt) -> bool:
    decorators = node.decorator_list if isinstance(node, Function) else ()
    return any(ast.unparse(one).endswith("overload") for one in decorators)


def names_in(tree: ast.Module) -> Iterator[str]:
    """What a module imports and defines, in order."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
        elif name := defined_by(node):
            yield name


def defined_by(node: ast.stmt) -> str:
    match node:
        case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
            return node.name
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""


def constants(tree: ast.Module) -> Iterator[tuple[str, ast.expr]]:
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            yield defined_by(node), node.value


def described(one: Public) -> list[str]:
    """The parts of one name's section."""
    match one.definition:
        case ast.ClassDef() as class_:
            return [f"## {one.name}", *class_parts(class_)]
        case ast.FunctionDef() | ast.AsyncFunctionDef() as function:
            managers = (
                text for each in function.decorator_list if (text := ast.unparse(each)).endswith("contextmanager")
            )
            shown = "\n".join([*(f"@{text}" for text in managers), signature(function)])
            return [f"## {one.name}", code(shown), prose(docstring_of(function))]
        case constant:
            written = ast.get_source_segment(source_of(one.module).read_text(), constant)  # as the formatter left it
            return [f"## {one.name}", code(written or ""), prose(text_of(one.following))]


def class_parts(class_: ast.ClassDef) -> Iterator[str]:
    yield code(class_signature(class_))
    yield prose(docstring_of(class_))
    yield "\n".join(attributes(class_))
    for method in methods(class_):
        decorators = {ast.unparse(one) for one in method.decorator_list}
        if decorators & {"property", "functools.cached_property"}:
            result = f": {ast.unparse(method.returns)}" if method.returns else ""
            yield f"### {class_.name}.{method.name}"
            yield code(f"{method.name}{result}")
        else:
            yield f"### {class_.name}.{method.name}()"
            yield code("\n".join([*(f"@{one}" for one in sorted(decorators)), signature(method, bound=True)]))
        yield prose(docstring_of(method))


def methods(class_: ast.ClassDef) -> Iterator[Function]:
    """Public ones; of a property the getter alone."""
    for node in class_.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            decorators = (ast.unparse(one) for one in node.decorator_list)
            if not any(text.endswith((".setter", ".deleter")) or "overload" in text for text in decorators):
                yield node


def class_signature(class_: ast.ClassDef) -> str:
    """How it is made, where it has an `__init__`; its bases, where it has fields or members."""
    bases = ", ".join(ast.unparse(one) for one in class_.bases)
    head = f"class {class_.name}({bases})" if bases else f"class {class_.name}"
    for node in class_.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return f"{head}\n\n{call(class_.name, node, bound=True)}"
    return head


def attributes(class_: ast.ClassDef) -> Iterator[str]:
    """Fields and members with a line each, and what is said of them."""
    for node, following in itertools.zip_longest(class_.body, class_.body[1:]):
        name = defined_by(node)
        if isinstance(node, ast.AnnAssign | ast.Assign) and not name.startswith("_"):
            yield f"- `{ast.unparse(node)}`" + spoken(text_of(following))
    initial = (node for node in class_.body if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    for method in initial:
        for node, following in itertools.zip_longest(method.body, method.body[1:]):
            if said := text_of(following):
                match node:
                    case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=type_) if not name.startswith("_"):
                        yield f"- `{name}: {ast.unparse(type_)}`" + spoken(said)
                    case ast.Assign(targets=[ast.Attribute(attr=name)]) if not name.startswith("_"):
                        yield f"- `{name}`" + spoken(said)


def spoken(text: str) -> str:
    return f"  \n  {' '.join(text.split())}" if text else ""


def signature(function: Function, *, bound: bool = False) -> str:
    prefix = "async def " if isinstance(function, ast.AsyncFunctionDef) else "def "
    return call(prefix + function.name, function, bound=bound)


def call(head: str, function: Function, *, bound: bool) -> str:
    """Name, parameters and result; `bound` leaves out the first parameter, which is the object or class."""
    result = f" -> {ast.unparse(function.returns)}" if function.returns and function.name != "__init__" else ""
    wanted = parameters(function.args)
    static = any(ast.unparse(one) == "staticmethod" for one in function.decorator_list)
    if bound and not static:
        wanted = wanted[1:]
    line = f"{head}({', '.join(wanted)}){result}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{head}(", *(f"    {one}," for one in wanted), f"){result}"])


def parameters(args: ast.arguments) -> list[str]:
    """Each parameter as it was written, with the marks between kinds of them."""
    plain = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [*[None] * (len(plain) - len(args.defaults)), *args.defaults]
    written = [parameter(arg, default) for arg, default in zip(plain, defaults, strict=True)]
    if args.posonlyargs:
        written.insert(len(args.posonlyargs), "/")
    if args.vararg:
        written.append(f"*{parameter(args.vararg, None)}")
    elif args.kwonlyargs:
        written.append("*")
    written += [parameter(arg, default) for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    return [*written, f"**{parameter(args.kwarg, None)}"] if args.kwarg else written


def parameter(arg: ast.arg, default: ast.expr | None) -> str:
    text = f"{arg.arg}: {ast.unparse(arg.annotation)}" if arg.annotation else arg.arg
    if default is None:
        return text
    return f"{text} = {ast.unparse(default)}" if arg.annotation else f"{text}={ast.unparse(default)}"


def code(text: str) -> str:
    return f"```python\n{text}\n```"


def prose(text: str) -> str:
    """A docstring as Markdown: the indented sections of a module's promises get their names in bold."""
    blocks: list[str] = []
    lines = text.splitlines()
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=""):
        if line and not line.startswith(" ") and following.startswith("    "):
            blocks += [*([""] if blocks and blocks[-1] else []), f"**{line}**", ""]
        else:
            blocks.append(line.removeprefix("    "))
    return dedent("\n".join(blocks)).strip()


def docstring_of(node: ast.Module | ast.ClassDef | Function) -> str:
    return ast.get_docstring(node) or ""


def text_of(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return node.value.value
    return ""


def source_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def stale(wanted: Mapping[str, str]) -> list[str]:
    """The pages that are missing, not what they should be, or nobody's."""
    there = {path.name: path.read_text() for path in FOLDER.glob("*.md")}
    return sorted(name for name in {**wanted, **there} if there.get(name) != wanted.get(name))


def main() -> int:
    wanted = pages()
    differing = stale(wanted)
    if "--check" in sys.argv:
        for name in differing:
            print(f"docs/api/{name} is not what the docstrings say: run make api-doc", file=sys.stderr)
        return 1 if differing else 0
    FOLDER.mkdir(exist_ok=True)
    for name in differing:
        if name in wanted:
            (FOLDER / name).write_text(wanted[name])
        else:
            (FOLDER / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
