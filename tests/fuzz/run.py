#!/usr/bin/env python3
"""Runs every fuzz target for a while, two at a time; new findings are printed, nothing is kept."""
import argparse
import concurrent.futures
import glob
import os
import subprocess
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def fuzz(binary, seconds):
    name = os.path.basename(binary)
    corpus = os.path.join(TOP, "tests/fuzz/corpus", name[len("fuzz_"):])
    with tempfile.TemporaryDirectory(prefix="pugd-fuzz-") as work:
        os.mkdir(os.path.join(work, "new"))
        command = [os.path.join(TOP, binary), f"-max_total_time={seconds}", "-timeout=20",
                   "-rss_limit_mb=3000", "-print_final_stats=1",
                   f"-artifact_prefix={work}/", os.path.join(work, "new")]
        if os.path.isdir(corpus):
            command.append(corpus)
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=TOP,
                              timeout=seconds * 3 + 120)
        runs = [line.split()[-1] for line in done.stderr.splitlines()
                if "number_of_executed_units" in line]
        found = [f for f in os.listdir(work) if f != "new"]
        for f in found:
            with open(os.path.join(work, f), "rb") as data:
                print(f"{name}: {f}: {data.read()[:400].hex()}")
        return name, runs[0] if runs else "?", done.returncode, done.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=60)
    args = parser.parse_args()
    os.chdir(TOP)
    binaries = sorted(glob.glob("build/fuzz/bin/fuzz_*"))
    binaries = [b for b in binaries if not b.endswith(".d")]
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, runs, code, log in pool.map(lambda b: fuzz(b, args.seconds), binaries):
            print(f"{'ok  ' if code == 0 else 'FAIL'} {name:20} {runs} inputs", flush=True)
            if code != 0:
                failed += 1
                print("\n".join(log.splitlines()[-50:]))
    print(f"{len(binaries) - failed} passed, {failed} failed")
    return 1 if failed or not binaries else 0


if __name__ == "__main__":
    sys.exit(main())
