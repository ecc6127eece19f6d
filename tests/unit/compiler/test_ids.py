"""Identifiers as text."""

from __future__ import annotations

from flyteidl.core import identifier_pb2

from propeller.compiler import identifier_text


def test_an_identifier_is_written_as_go_writes_its_message() -> None:
    identifier = identifier_pb2.Identifier(
        resource_type=identifier_pb2.ResourceType.TASK, project="p", domain="d", name="n", version="v", org="o"
    )
    assert identifier_text(identifier) == 'resource_type:TASK project:"p" domain:"d" name:"n" version:"v" org:"o"'


def test_empty_fields_are_left_out_and_odd_characters_escaped() -> None:
    assert identifier_text(identifier_pb2.Identifier(name='a"b\\c\n\x01\x7f\x85ü')) == (
        'name:"a\\"b\\\\c\\n\\x01\\x7f\\u0085ü"'
    )
    assert identifier_text(identifier_pb2.Identifier()) == ""
    assert identifier_text(None) == "<nil>"
