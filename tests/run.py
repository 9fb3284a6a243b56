#!/usr/bin/env python3
"""Runs the test suites in parallel and adds up what they report.

A suite is a command that ends with a line "N passed, N failed" (Criterion's
synthesis line counts too). A suite that prints no such line, is killed by its
time limit or exits non-zero without a failure counted, counts as one failure.
So does everything that is still there when all suites are over.
"""
import argparse
import concurrent.futures
import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, "tests", "harness"))
from leftovers import Watch  # noqa: E402

COUNT = re.compile(r"^(?:[\w-]+:\s*)?(\d+) passed, (\d+) failed", re.M)
CRITERION = re.compile(r"Tested: (\d+) \| Passing: (\d+) \| Failing: (\d+) \| Crashing: (\d+)")
PRINT = threading.Lock()


def suites(variant):
    """(group, name, command, seconds) for everything there is."""
    build = f"build/{variant}"
    for path in sorted(glob.glob("tests/unit/test_*.c")):
        name = os.path.basename(path)[:-2]
        yield "unit", name, [f"{build}/unit/{name}", "-j1"], 300
    for path in sorted(glob.glob("tests/fuzz/fuzz_*.c")):
        name = os.path.basename(path)[:-2]
        yield "replay", name, [f"{build}/replay/{name}", f"tests/fuzz/corpus/{name[5:]}"], 300
    python = [sys.executable]
    for group, pattern in (("wire", "tests/wire/test_*.py"), ("db", "tests/db/test_*.py"), ("api", "tests/api/test_*.py"),
                           ("master", "tests/master/test_*.py"), ("dev", "tests/dev/test_*.py"),
                           ("storm", "tests/storm/test_*.py"), ("harness", "tests/harness/test_*.py"),
                           ("clients", "tests/clients/test_*.py")):
        for path in sorted(glob.glob(pattern)):
            name = os.path.basename(path)[:-3]
            yield group, name, python + [path, "--variant", variant], 900


def run(suite, logs, watch):
    group, name, command, seconds = suite
    log = os.path.join(logs, f"{group}-{name}.log")
    start = time.monotonic()
    env = dict(os.environ, TMPDIR=watch.folder, PYTHONPATH=os.path.join(TOP, "tests", "harness"),
               ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0"),
               UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1",
               LSAN_OPTIONS="suppressions=" + os.path.join(TOP, "tests/harness/lsan.supp"))
    timed_out = False
    with open(log, "w+b") as out:
        child = watch.start(command, stdout=out, stderr=subprocess.STDOUT, cwd=TOP, env=env,
                            stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            timed_out = True
            code = -1
        # Whatever the suite left behind ends with it.
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        child.wait()
        watch.suites.discard(child.pid)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    passed, failed = count(text)
    if timed_out or (code != 0 and failed == 0) or passed + failed == 0:
        failed += 1
    return group, name, passed, failed, time.monotonic() - start, text, timed_out


def count(text):
    found = COUNT.findall(text)
    if found:
        return int(found[-1][0]), int(found[-1][1])
    found = CRITERION.findall(text)
    if found:
        tested, passing, _, _ = (int(x) for x in found[-1])
        return passing, tested - passing
    return 0, 0


def report(result):
    group, name, passed, failed, seconds, text, timed_out = result
    mark = "ok  " if failed == 0 else "FAIL"
    with PRINT:
        print(f"{mark} {group:8} {name:28} {passed:5} passed {failed:3} failed {seconds:7.1f} s",
              flush=True)
        # What passed only because it was not tried is said.
        for line in text.splitlines() if not failed else []:
            if re.search(r"\bskipped:", line):
                print("    | " + line.strip(), flush=True)
        if failed:
            print("\n".join("    | " + line for line in text.splitlines()[-60:]), flush=True)
            if timed_out:
                print("    | (time limit)", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="test")
    parser.add_argument("--only", default="", help="groups or suite names, comma-separated")
    parser.add_argument("--skip", default="", help="groups or suite names, comma-separated")
    parser.add_argument("--jobs", type=int, default=3)
    args = parser.parse_args()
    os.chdir(TOP)
    only = set(filter(None, args.only.split(",")))
    skip = set(filter(None, args.skip.split(",")))
    todo = [s for s in suites(args.variant)
            if (not only or s[0] in only or s[1] in only) and s[0] not in skip and s[1] not in skip]
    # Storms measure times: they run alone, after the rest.
    quiet = [s for s in todo if s[0] == "storm"]
    todo = [s for s in todo if s[0] != "storm"]
    watch = Watch()
    logs = tempfile.mkdtemp(prefix="logs-", dir=watch.folder)
    results = []
    try:
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            # Long suites first, so that they do not end alone.
            todo.sort(key=lambda s: s[0] in ("unit", "replay"))
            for future in concurrent.futures.as_completed([pool.submit(run, s, logs, watch) for s in todo]):
                results.append(future.result())
                report(results[-1])
        for suite in quiet:
            results.append(run(suite, logs, watch))
            report(results[-1])
    finally:
        left = watch.finish()
    for one in left:
        print(f"left behind: {one}")
    passed = sum(r[2] for r in results)
    failed = sum(r[3] for r in results) + len(left)
    for r in results:
        if r[3]:
            print(f"failed: {r[0]} {r[1]}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not results else 0


if __name__ == "__main__":
    sys.exit(main())
