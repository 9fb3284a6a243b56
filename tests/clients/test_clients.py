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
        for language, program in (("lint", "sh"), ("ts-v1", "node"), ("ts-v2", "node"), ("python", "protoc"),
                                  ("go", "go")):
            if shutil.which(program):
                assert re.search(rf"^clients: {language} +ok", done.stdout, re.M), done.stdout


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


# The packages are linked in and not fetched: the shell's npm only checks that the folder has what the
# README's line asks for, in that major version. All else goes to the real one.
OFFLINE_NPM = """
npm() {
	[ "$1" = install ] || { command npm "$@"; return; }
	shift
	for wanted in "$@"; do
		name=${wanted%@[0-9]*}
		version=$(sed -n 's/^  "version": "\\(.*\\)".*/\\1/p' "node_modules/$name/package.json")
		case $wanted in *@[0-9]*) ;; *) version= ;; esac
		case $version in "" | ${wanted##*@}.*) ;; *) echo "$wanted: $version"; exit 1 ;; esac
	done
}
"""


def readme_block(text, name):
    return re.search(rf"<!-- test: {name} -->\n```ts\n(.*?)```", text, re.S).group(1)


def readme_commands(text):
    """The lines of "From TypeScript" that are there to be typed, in order, and that with the key."""
    section = re.sub(r"^```.*?^```", "", text.split("## From TypeScript")[1].split("\n## ")[0], flags=re.S | re.M)
    return [re.search(r"^    (PUB=.*)$", text, re.M).group(1), *re.findall(r"^    (.*)$", section, re.M)]


def in_order(lines, code):
    """One script: what makes the project, then the file, then what runs it."""
    run = [i for i, line in enumerate(lines) if "hello.ts" in line]
    assert run == [len(lines) - 1] and len(lines) == 5, lines
    return [*lines[:-1], "cat >hello.ts <<'END_OF_FILE'", code + "END_OF_FILE", lines[-1]]


def type_it(version, lines):
    """In a copy of the tree as it is after `make run`: proto/ with its packages, and .pug/."""
    with tempfile.TemporaryDirectory(prefix="pugc-") as folder:
        shutil.copytree(PROTO, os.path.join(folder, "proto"), symlinks=True,
                        ignore=shutil.ignore_patterns("node_modules"))
        os.symlink(os.path.join(PROTO, "node_modules"), os.path.join(folder, "proto/node_modules"))
        os.symlink(os.path.join(HERE, version, "node_modules"), os.path.join(folder, "node_modules"))
        os.symlink(P.data, os.path.join(folder, ".pug"))
        done = subprocess.run(["sh", "-e", "-c", OFFLINE_NPM + "\n".join(lines)], cwd=folder, timeout=300,
                              env=dict(os.environ, PUGD_URL=P.info["url"], npm_config_offline="true"),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == "accepted 1, new 1", done.stdout


def test_readme_example_works_as_it_stands(_):
    """Every line that the README says to type, and the file that it says to save; then its v2 form."""
    with open(os.path.join(pug.TOP, "README.md"), encoding="utf-8") as f:
        text = f.read()
    lines, code = readme_commands(text), readme_block(text, "readme-ts")
    type_it("v1", in_order(lines, code))
    imports, _, client = readme_block(text, "readme-ts-v2").partition("\n\n")
    kept = [x for x in code.splitlines() if "createPromiseClient" not in x and "EventsService" not in x]
    at = next(i for i, x in enumerate(kept) if x.startswith("const answer"))
    code = "\n".join([imports, *kept[:at], client, *kept[at:]]) + "\n"
    lines = [x.replace("@1", "@2").replace("buf generate", "buf generate --template buf.gen.es2.yaml")
             for x in lines]
    type_it("v2", in_order(lines, code))


def main_job_with(every, disturb, **env):
    """The main program, while disturb() is called all the time; what it printed."""
    stop = threading.Event()

    def run():
        while not stop.wait(every):
            disturb()

    thread = threading.Thread(target=run)
    with tempfile.TemporaryDirectory(prefix="pugc-") as folder:
        project("v1", folder)
        shutil.copy(os.path.join(HERE, "main_v1.ts"), os.path.join(folder, "main.ts"))
        thread.start()
        try:
            return tsx(folder, "main.ts", ["ok v1 node binary", "ok v1 web json"], **env)
        finally:
            stop.set()
            thread.join()


def reload():
    os.kill(P.info["master_pid"], signal.SIGHUP)


def kill_a_worker():
    """Any that is ready, if there is one; its place is filled again at once."""
    try:
        workers = [w for w in P.admin()["workers"] if w["state"] == "ready" and w["role"] == "worker"]
        os.kill(random.choice(workers)["pid"], signal.SIGKILL)
    except (OSError, IndexError, ValueError):
        pass  # the page is away while the master execs itself


def test_main_job_while_the_server_is_reloaded(_):
    """HUPs all the time: a client notices nothing."""
    main_job_with(0.7, reload)


def test_main_job_while_workers_are_killed(_):
    """Kills and HUPs all the time: a client that sends again what got no answer does the whole job, and
    nothing happened twice."""
    deaths, turns = P.admin()["deaths"], []

    def disturb():
        turns.append(reload() if len(turns) % 5 == 4 else kill_a_worker())

    out = main_job_with(0.08, disturb, PUGD_RETRY="1")
    died = P.admin()["deaths"] - deaths
    print(f"     {died} killed, {out.splitlines()[-1]}")
    assert died >= 5, died


def test_main_job_after_killed_workers(_):
    for _ in range(3):
        kill_a_worker()
        time.sleep(0.3)
    test_typescript_v2(_)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    with pug.Pug("asan" if "asan" in sys.argv else "test", options=["workers=2"]) as P:
        sys.exit(pug.main(tests, expects=pug.KILLS))
