"""Notice that files of a project have changed which its tasks share by links, as they are too large to copy."""

from __future__ import annotations

from pathlib import Path

from propeller.embedded.kubelet._workdir import contents

_State = tuple[int, int]


class LinkedFiles:
    """The files and directories that a working directory has as links because of their size, in their current state."""

    def __init__(self, project: Path) -> None:
        self._project = project
        self._before = self._look()

    def changed(self) -> list[str]:
        """Return those that have changed, relative to the project. Of a directory only its own entries are checked."""
        now = self._look()
        return sorted(name for name, state in self._before.items() if now.get(name) != state)

    def _look(self) -> dict[str, _State]:
        found = {}
        for name in contents(str(self._project)).large:
            try:
                stat = (self._project / name).stat()
            except OSError:
                continue
            found[name] = (stat.st_mtime_ns, stat.st_size)
        return found
