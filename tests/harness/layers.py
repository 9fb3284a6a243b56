#!/usr/bin/env python3
"""Checks who includes whom: master -> shm; worker -> shm, proto, sql; never master <-> worker."""
import os
import re
import sys

ALLOWED = {
    "shm": {"shm"},
    "proto": {"proto", "shm/base"},
    "master": {"master", "shm"},
    "worker": {"worker", "shm", "proto", "sql"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def fits(path, rooms):
    return any(path.startswith(room + "/") for room in rooms)


def main():
    bad = []
    count = 0
    for top, rooms in ALLOWED.items():
        for folder, _, files in os.walk(top):
            for name in sorted(files):
                if not name.endswith((".c", ".h")):
                    continue
                path = os.path.join(folder, name)
                count += 1
                with open(path, encoding="utf-8", errors="replace") as f:
                    for number, line in enumerate(f, 1):
                        m = INCLUDE.match(line)
                        if not m or "/" not in m.group(1):
                            continue
                        if fits(m.group(1), ("google",)) or fits(m.group(1), rooms):
                            continue
                        bad.append(f"{path}:{number}: {top} must not include {m.group(1)}")
    for line in bad:
        print(line)
    print(f"layers: {count} files, {len(bad)} forbidden includes")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
