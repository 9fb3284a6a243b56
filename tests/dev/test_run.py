#!/usr/bin/env python3
"""The README's first command: `make run`, twice in one folder, as a developer sees it."""
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time

import pug
from test_dev import curls, folder, no_trace, places


def environment(**more):
    """Not that of the make which may have started this suite."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}, **more}


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(data, port, seconds, check):
    """`make run` until check(what it printed, dev.json) is through and ^C has ended it."""
    command = ["make", "run", f"DATA={data}", f"PORT={port}", "SEED=200"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=pug.TOP,
                                 env=environment(), start_new_session=True)
        try:
            end = time.monotonic() + seconds
            text = ""
            while "Stop: ^C" not in text:
                assert child.poll() is None and time.monotonic() < end, text[-3000:]
                time.sleep(0.05)
                out.seek(0)
                text = out.read()
            with open(os.path.join(data, "dev.json"), encoding="utf-8") as f:
                check(text, json.load(f))
            names = places(data)
            os.killpg(child.pid, signal.SIGINT)  # as a terminal does
            child.wait(60)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    no_trace(names, port)
    assert not os.path.exists(os.path.join(data, "dev.json"))


def printed_curls_work(text, info):
    lines = curls(text)
    assert len(lines) == 2, text[-3000:]
    answers = [json.loads(subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=60,
                                         check=True).stdout) for line in lines]
    assert answers[0] == {"accepted": 1, "dropped": 0, "eventsCreated": 1}, answers
    points = answers[1]["trends"]["series"][0]["points"]
    assert sum(p["value"] for p in points) >= 1, points
    assert info["email"] in text and info["password"] in text, text


def test_make_run_twice(_):
    """The first may have to build; the second keeps the data and the people."""
    seen = []

    def check(text, info):
        printed_curls_work(text, info)
        assert ("Creating a private PostgreSQL" in text) == (not seen), text
        seen.append({k: info[k] for k in ("email", "password", "project_id", "public_key")})

    with folder() as data:
        port = free_port()
        run(data, port, 400, check)
        run(data, port, 60, check)
    assert seen[0] == seen[1], seen


def test_deps_do_nothing_when_all_is_there(_):
    """Neither apt nor sudo is asked, and nothing is said."""
    with tempfile.TemporaryDirectory(prefix="pugdev-") as bin_:
        for name in ("apt-get", "apt-cache", "sudo"):
            path = os.path.join(bin_, name)
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"#!/bin/sh\necho {name} was called: $*\nexit 1\n")
            os.chmod(path, 0o755)
        for target in ("deps", "deps-test"):
            done = subprocess.run(["make", "--no-print-directory", target], capture_output=True, text=True,
                                  cwd=pug.TOP, timeout=60,
                                  env=environment(PATH=bin_ + ":" + os.environ["PATH"]))
            assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), done


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    sys.exit(pug.main(tests))
