#!/usr/bin/env python3
"""At least 1000 kills of processes that work on a shared segment, with the product's own objects."""
import os
import re
import subprocess
import sys

import pug


def test_kills_in_mid_write(variant):
    binary = os.path.join(pug.TOP, "build", variant, "bin/storm/shm_kill")
    done = subprocess.run([binary, "1000"], capture_output=True, text=True, timeout=300)
    print("     " + done.stdout.strip().splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    value = {k: float(v) for k, v in re.findall(r"([\w/]+)=([\d.]+)", done.stdout)}
    assert value["kills"] >= 1000 and value["torn"] == 0 and value["stuck"] == 0, value
    assert value["repaired"] > 0, "the kills never hit a write"


if __name__ == "__main__":
    sys.exit(pug.main([(n, f) for n, f in list(globals().items()) if n.startswith("test_")]))
