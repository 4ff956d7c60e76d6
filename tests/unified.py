#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0
"""unified.py [--apart] BUILD OUT FILE...: writes sources into OUT that include some FILEs each, of a room or two and compiled the same way, with
their compile_commands.json; prints what is then to be looked at: these sources, and the FILEs that no room has. With --apart: the FILEs alone.

What headers cost clang-tidy, it costs once a source. "UnifiedSource" in its name makes the analyzer look at what it includes.
"""

import json
import re
import sys
from pathlib import Path

BATCH = 40  # more than any room has, so names in a room must not collide
# Rooms that are small enough to be looked at with another one; names must not collide there either.
WITH = {"capture": "kernel", "socket": "kernel"}

# What clang-tidy sees only in a source by itself: unused using declarations and namespace aliases.
BY_ITSELF = re.compile(r"^ *(using [\w:]+;|namespace \w+ = )", re.MULTILINE)


def commands_of(build: Path) -> dict[str, dict]:
    """How each source is compiled; for those that are compiled together (CMake's unity build), how it would be by itself."""
    commands = {}
    for entry in json.loads((build / "compile_commands.json").read_text()):
        together = entry["file"].endswith(".cxx")
        parts = re.findall(r'^#include "(/\S+)"$', Path(entry["file"]).read_text(), re.MULTILINE) if together else [entry["file"]]
        flags = re.sub(r" -o \S+ -c \S+$| -Winvalid-pch| -include \S+", "", entry["command"])  # precompiled headers are the compiler's own
        commands |= {part: {"directory": entry["directory"], "file": part, "command": f"{flags} -c {part}"} for part in parts}
    return commands


def main() -> None:
    apart = sys.argv[1] == "--apart"
    build, out, *files = sys.argv[2:] if apart else sys.argv[1:]
    build, out = Path(build), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("UnifiedSource*"):
        old.unlink()
    commands = commands_of(build)
    rooms: dict[tuple[str, str], list[dict]] = {}
    alone = []
    for file in files:
        entry = commands[str(Path(file).resolve())]
        room = re.fullmatch(r"user/(\w+)/\w+\.cpp", file)
        if room and not apart and not BY_ITSELF.search(Path(file).read_text()):
            rooms.setdefault((WITH.get(room[1], room[1]), entry["command"].removesuffix(f" -c {entry['file']}")), []).append(entry)
        else:
            alone.append(entry)
    sources = []
    for (room, flags), entries in rooms.items():
        for start in range(0, len(entries), BATCH):
            source = out.resolve() / f"UnifiedSource_{room}_{len(sources)}.cpp"
            lines = [f'#include "{entry["file"]}"  // NOLINT(bugprone-suspicious-include)\n' for entry in entries[start : start + BATCH]]
            source.write_text("".join(lines))
            sources.append({"directory": entries[0]["directory"], "file": str(source), "command": f"{flags} -c {source}"})
    (out / "compile_commands.json").write_text(json.dumps(sources + alone))
    for entry in sources + alone:
        print(Path(entry["file"]).relative_to(Path.cwd()))


if __name__ == "__main__":
    main()
