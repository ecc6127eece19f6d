"""Tasks in any language: containers whose inputs and outputs are files, without flytekit in their images.

propeller run examples/containers.py containers --a 6 --b 7
"""

from __future__ import annotations

from pathlib import Path

from flytekit import ContainerTask, kwtypes, task, workflow
from flytekit.types.directory import FlyteDirectory
from flytekit.types.file import FlyteFile

shell = ContainerTask(
    name="multiply",
    image="alpine:3.20",
    input_data_dir="/var/inputs",
    output_data_dir="/var/outputs",
    inputs=kwtypes(a=int, b=int),
    outputs=kwtypes(product=int, table=FlyteFile),
    command=[
        "/bin/sh",
        "-c",
        """
        a=$(cat /var/inputs/a) b=$(cat /var/inputs/b)
        echo $((a * b)) > /var/outputs/product
        for i in 1 2 3; do echo $((a * i)); done > /var/outputs/table.txt
        """,
    ],
)
"""A shell script: one file for each input and output; a blob may have an extension."""

perl = ContainerTask(
    name="statistics",
    image="perl:5.40-slim",
    input_data_dir="/var/inputs",
    output_data_dir="/var/outputs",
    inputs=kwtypes(table=FlyteFile, product=int),
    outputs=kwtypes(mean=float, text=str, lines=list[str], parts=FlyteDirectory),
    command=[
        "perl",
        "-e",
        r"""
        sub put { open(O, ">", "/var/outputs/$_[0]") or die; print O $_[1]; close O }
        open(F, "<", "/var/inputs/table"); @lines = <F>; chomp @lines;
        $sum += $_ for @lines;
        put("mean", $sum / @lines);
        put("text", "product {{.inputs.product}}");
        mkdir "/var/outputs/lines"; put("lines/$_", $lines[$_]) for 0 .. $#lines;
        mkdir "/var/outputs/parts"; put("parts/part-$_.csv", "$lines[$_]
") for 0 .. $#lines;
        """,
    ],
)
"""Another language: a list is a directory with the files 0, 1, 2; a directory is uploaded with all its files."""


@task
def read(mean: float, lines: list[str], parts: FlyteDirectory) -> str:
    """Back in Python."""
    files = sorted(Path(parts.download()).iterdir())
    return f"mean {mean:g} of {', '.join(lines)}; {len(files)} files"


@workflow
def containers(a: int = 6, b: int = 7) -> tuple[int, str, str]:
    product, table = shell(a=a, b=b)
    mean, text, lines, parts = perl(table=table, product=product)
    return product, text, read(mean=mean, lines=lines, parts=parts)
