"""Write docs/settings.md from propeller/config and the rooms' options: every setting, its default, and the reason.

`python tools/settings_doc.py` writes it; `--check` only says whether it is current (exit code 1 where it is not). Both
do the same to the files of deploy/ that settings and rights are in (`chart.py`).
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import chart

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "settings.md"

HEAD = """# Settings

Made from `propeller/config` by `make settings-doc`; do not edit.

Settings come from a file that `--config` names, TOML or YAML, in the sections below, and from the environment, which
overrides the file: `PROPELLER_CHECKPOINT__MAX_LAG=5` is `max_lag` of `[checkpoint]`. Lists in the environment are
separated by commas. What neither names keeps its default; a name that does not exist, a value of the wrong type, and a
number that cannot work are refused. `propeller settings` prints what is in force, and where each value comes from.

```toml
[checkpoint]
max_lag = 5.0

[storage]
metadata_prefix = "s3://my-bucket/metadata"
```
"""


def page(config: Path) -> str:
    """The whole page for the package config and the options that it gathers from rooms."""
    tree = ast.parse(config.read_text())
    modules = [tree, *(ast.parse(path.read_text()) for path in gathered(tree))]
    modules += [ast.parse(path.read_text()) for module in modules[1:] for path in gathered(module)]
    classes = {node.name: node for module in modules for node in module.body if isinstance(node, ast.ClassDef)}
    parts = [HEAD]
    for name, class_name in sections(classes["Settings"]):
        class_ = classes[class_name]
        bases = [classes[base.id] for base in class_.bases if isinstance(base, ast.Name) and base.id in classes]
        parts.append(section(name, class_, bases))
    return "\n".join(parts)


def gathered(config: ast.Module) -> list[Path]:
    """The modules, of config itself and of rooms, that it takes options from."""
    imports = [node.module or "" for node in config.body if isinstance(node, ast.ImportFrom)]
    return [ROOT / f"{name.replace('.', '/')}.py" for name in imports if name.startswith("propeller.")]


def sections(settings: ast.ClassDef) -> list[tuple[str, str]]:
    """(field, class) of each section, in order."""
    return [
        (node.target.id, node.annotation.id)
        for node in settings.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and isinstance(node.annotation, ast.Name)
    ]


def section(name: str, class_: ast.ClassDef, bases: list[ast.ClassDef]) -> str:
    """The table of a section: the fields of its class, and those that it inherits and that have a docstring."""
    lines = [
        f"## [{name}]",
        "",
        flowed(ast.get_docstring(class_) or ""),
        "",
        "| name | default | why |",
        "|---|---|---|",
    ]
    named: set[str] = set()
    for one in (class_, *bases):
        for node, following in zip(one.body, [*one.body[1:], None], strict=True):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
                why = docstring_of(following)
                if one is class_ or (why and node.target.id not in named):
                    lines.append(f"| `{node.target.id}` | `{default_of(node.value)}` | {why} |")
                named.add(node.target.id)
    return "\n".join([*lines, ""])


def default_of(value: ast.expr) -> str:
    """A default as people read it: products are worked out, texts lose their quotes only where they are empty."""
    if isinstance(value, ast.BinOp):
        return str(eval(compile(ast.Expression(value), "default", "eval")))
    if isinstance(value, ast.Call):  # msgspec.field(default_factory=lambda: {...})
        factory = value.keywords[0].value
        assert isinstance(factory, ast.Lambda)
        value = factory.body
    if isinstance(value, ast.Tuple):
        return ", ".join(str(ast.literal_eval(item)) for item in value.elts)
    found = ast.literal_eval(value)
    return '""' if found == "" else str(found).lower() if isinstance(found, bool) else str(found)


def docstring_of(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return flowed(node.value.value).replace("|", "\\|")
    return ""


def flowed(text: str) -> str:
    return " ".join(text.split())


def main() -> int:
    wanted = page(ROOT / "propeller" / "config" / "__init__.py")
    if "--check" in sys.argv:
        current = PAGE.exists() and PAGE.read_text() == wanted
        if not current:
            print("docs/settings.md is not what propeller/config says: run make settings-doc", file=sys.stderr)
        return max(chart.main(), 0 if current else 1)
    PAGE.write_text(wanted)
    return chart.main()


if __name__ == "__main__":
    sys.exit(main())
