"""A result file in sections, one a row: each is replaced when its row is measured anew, the others stay as they were."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

#: `== small-page: 2026-11-22 10:31 UTC, commit 45a0bc5, ...`
_HEADING = re.compile(r"^== ([a-z-]+): (.*)$")
_WANTED = re.compile(r"^ *wanted: (.+?): (met|NOT met)(.*)$")


@dataclass
class Section:
    """One row's result: when and under what it was measured, and the lines."""

    stamp: str
    text: str

    def wanted(self):
        """(what was wanted, whether it was met, the figure) of each target."""
        return [(found[1], found[2] == "met", found[3]) for line in self.text.splitlines() if (found := _WANTED.match(line))]


@dataclass
class Report:
    """What `path` holds. `order` is that of the rows in the file."""

    path: Path
    title: str
    order: list
    notes: list = field(default_factory=list)
    sections: dict = field(default_factory=dict)

    @classmethod
    def read(cls, path, title, order):
        """The file as it is; an empty one where there is none. Rows that are in no order any more are left out."""
        made, name = cls(path, title, list(order)), ""
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            if heading := _HEADING.match(line):
                name = heading[1]
                made.sections[name] = Section(heading[2], "")
            elif name:
                made.sections[name].text += line + "\n"
        made.sections = {name: Section(one.stamp, one.text.strip("\n")) for name, one in made.sections.items() if name in made.order}
        return made

    def put(self, name, section):
        """Take a new measurement of a row, and write the file."""
        self.sections[name] = section
        self.write()

    def missing(self, commit):
        """Rows that were not measured at this commit."""
        return [name for name in self.order if name not in self.sections or f"commit {commit}," not in self.sections[name].stamp]

    def summary(self):
        """How many targets are met, and which are not."""
        rows = [(name, *found) for name in self.order if name in self.sections for found in self.sections[name].wanted()]
        missed = [f"NOT met: {name}: {what}{figure}" for name, what, met, figure in rows if not met]
        away = [name for name in self.order if name not in self.sections]
        lines = [f"{len(rows) - len(missed)} of {len(rows)} targets met", *missed]
        return lines + ([f"not measured: {', '.join(away)}"] if away else [])

    def text(self):
        """The whole file."""
        parts = ["\n".join([f"# {self.title}", *self.notes, *self.summary()])]
        measured = [(name, self.sections[name]) for name in self.order if name in self.sections]
        parts += [f"== {name}: {one.stamp}\n{one.text}" for name, one in measured]
        return "\n\n".join(parts) + "\n"

    def write(self):
        """Write the file in one go: a run that is cut off leaves the rows that were done."""
        self.path.parent.mkdir(exist_ok=True)
        partial = self.path.with_suffix(".new")
        partial.write_text(self.text(), encoding="utf-8")
        partial.replace(self.path)
