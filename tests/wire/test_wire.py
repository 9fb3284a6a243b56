#!/usr/bin/python3
"""All fixtures against the echo program of --variant, and the refusals against pugd itself."""
import argparse
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(TOP, "tests", "harness"))


def run(*args):
    """How many passed and failed."""
    p = subprocess.run([sys.executable, os.path.join(HERE, "run.py"), *args],
                       stdout=subprocess.PIPE, text=True, check=False)
    print(p.stdout, end="", flush=True)
    last = p.stdout.strip().rpartition("\n")[2].split()
    if len(last) != 5 or last[2] != "passed,":
        return 0, 1
    failed = int(last[3])
    return int(last[1]), failed + (p.returncode != 0 and failed == 0)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--variant", default="test")
    a = p.parse_args()
    results = [run("--program", os.path.join(TOP, "build", a.variant, "bin/wire/echo_main"))]
    from pug import Pug
    server = Pug(variant=a.variant)
    try:
        server.start()
        address = "%s:%d" % (server.host, server.port)
        results.append(run("--address", address, os.path.join(HERE, "fixtures/smuggling.txt")))
    finally:
        died = "worker died" in server.log()
        ended = server.stop()
        server.clean()
    results.append((1, 0) if ended == 0 and not died else (0, 1))
    print("%d passed, %d failed" % tuple(sum(r[i] for r in results) for i in (0, 1)))
    return 1 if any(r[1] for r in results) else 0


if __name__ == "__main__":
    sys.exit(main())
