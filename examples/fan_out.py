"""A fan-out that the data decides: as many tasks as a text has paragraphs, known only when it has been read.

propeller run examples/fan_out.py longest_words --text "One small step. One giant leap for workflows."
"""

from __future__ import annotations

from flytekit import dynamic, task, workflow

TEXT = """A workflow is a graph of tasks. Some graphs are known before they run.
Others depend on what the first tasks find. This one reads sentences and counts their words."""


@task
def sentences(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", " ").split(".") if part.strip()]


@task
def longest_word(sentence: str) -> str:
    return max(sentence.split(), key=len)


@dynamic
def each(parts: list[str]) -> list[str]:
    """One task for each sentence."""
    return [longest_word(sentence=part) for part in parts]


@task
def summarize(words: list[str]) -> dict[str, int]:
    return {word: len(word) for word in words}


@workflow
def longest_words(text: str = TEXT) -> dict[str, int]:
    """The longest word of each sentence, with its length."""
    return summarize(words=each(parts=sentences(text=text)))
