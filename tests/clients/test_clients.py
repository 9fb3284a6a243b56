#!/usr/bin/env python3
"""Clients generated from proto/: they compile, and they do the main job while workers die and reload."""
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pug

HERE = os.path.dirname(os.path.abspath(__file__))
PROTO = os.path.join(pug.TOP, "proto")
P = None


def project(version, folder):
    """A TypeScript project with generated sources, as the README tells users to make one."""
    template = {"v1": "buf.gen.yaml", "v2": "buf.gen.es2.yaml"}[version]
    os.makedirs(os.path.join(folder, "proto"))
    subprocess.run([os.path.join(PROTO, "node_modules/.bin/buf"), "generate", "--template", template,
                    "-o", os.path.join(folder, "proto")], cwd=PROTO, check=True)
    os.symlink(os.path.join(HERE, version, "node_modules"), os.path.join(folder, "node_modules"))
    shutil.copy(os.path.join(HERE, version, "package.json"), folder)


def tsx(folder, script, expect, **env):
    done = subprocess.run([os.path.join(folder, "node_modules/.bin/tsx"), script], cwd=folder,
                          env=dict(os.environ, PUGD_URL=P.info["url"], **env), timeout=300,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in expect:
        assert line in done.stdout, done.stdout
    return done.stdout


def test_every_language_generates_and_compiles(_):
    with tempfile.TemporaryDirectory(prefix="pugc-") as folder:
        done = subprocess.run([os.path.join(PROTO, "check_clients.sh"), folder], capture_output=True,
                              text=True, timeout=600)
        print("     " + done.stdout.strip().replace("\n", "\n     "))
        assert done.returncode == 0, done.stdout + done.stderr


def test_typescript_v1(_):
    with tempfile.TemporaryDirectory(prefix="pugc-") as folder:
        project("v1", folder)
        shutil.copy(os.path.join(HERE, "main_v1.ts"), os.path.join(folder, "main.ts"))
        tsx(folder, "main.ts", [f"ok v1 {t}" for t in ("node binary", "node json", "node get",
                                                       "web binary", "web json")])


def test_typescript_v2(_):
    with tempfile.TemporaryDirectory(prefix="pugc-") as folder:
        project("v2", folder)
        shutil.copy(os.path.join(HERE, "main_v2.ts"), os.path.join(folder, "main.ts"))
        tsx(folder, "main.ts", ["ok v2 node binary", "ok v2 web json"])


def test_readme_example_works_as_it_stands(_):
    with open(os.path.join(pug.TOP, "README.md"), encoding="utf-8") as f:
        code = re.search(r"<!-- test: readme-ts -->\n```ts\n(.*?)```", f.read(), re.S).group(1)
    with tempfile.TemporaryDirectory(prefix="pugc-") as folder:
        project("v1", folder)
        with open(os.path.join(folder, "readme.ts"), "w", encoding="utf-8") as f:
            f.write(code)
        tsx(folder, "readme.ts", ["accepted 1, new 1"], PUGD_KEY=P.info["public_key"])


def test_main_job_while_the_server_is_reloaded(_):
    """HUPs all the time: a client notices nothing."""
    stop = threading.Event()

    def disturb():
        while not stop.wait(0.7):
            os.kill(P.info["master_pid"], signal.SIGHUP)

    thread = threading.Thread(target=disturb)
    with tempfile.TemporaryDirectory(prefix="pugc-") as folder:
        project("v1", folder)
        shutil.copy(os.path.join(HERE, "main_v1.ts"), os.path.join(folder, "main.ts"))
        thread.start()
        try:
            tsx(folder, "main.ts", ["ok v1 node binary", "ok v1 web json"])
        finally:
            stop.set()
            thread.join()


def test_main_job_after_killed_workers(_):
    for _ in range(3):
        workers = [w for w in P.admin()["workers"] if w["state"] == "ready" and w["role"] == "worker"]
        os.kill(random.choice(workers)["pid"], signal.SIGKILL)
        time.sleep(0.3)
    test_typescript_v2(_)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    with pug.Pug("asan" if "asan" in sys.argv else "test", options=["workers=2"]) as P:
        sys.exit(pug.main(tests))
