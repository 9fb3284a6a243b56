#!/usr/bin/env python3
"""The admin page, the operator's commands, and the files in systemd/.

usage: as test_master.py
"""
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake import BIN, TOP, Master, expect, main, run  # noqa: E402


# ---- admin page and commands -------------------------------------------------------

def test_admin_bounds():
    with Master(BIN["pugd"]) as m:
        expect("404" in m.ask("GET /nothing").split("\r\n")[0], "404")
        expect("431" in m.ask("GET /" + "x" * 4000).split("\r\n")[0], "431")
        idle = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for s in idle:
            s.connect(m.path("admin"))
        time.sleep(0.1)
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(m.path("admin"))
            expect(s.recv(1) == b"", "one too many is closed at once")
        expect(len(m.get_pids(3)) >= 1, "clients are not disturbed")
        for s in idle:
            s.settimeout(10)
            expect(s.recv(1) == b"", "one that asks nothing is cut off")
            s.close()
        m.status()
    with Master(BIN["pugd"], options={"admin_listen": "192.0.2.1:1"}, start=False) as m:
        expect(m.process.wait(20) == 78, "not a loopback address")
        expect(m.grep("admin_listen: must be"), m.log())


def test_admin_names():
    """On TCP only a request for this machine is answered: a page elsewhere could have its name
    resolve to 127.0.0.1 (DNS rebinding)."""
    with Master(BIN["pugd"], options={"admin_listen": "127.0.0.1:0"}, start=False) as m:
        address = re.search(r"admin addr=(\S+)", m.wait_log("admin addr=")).group(1)
        host, _, port = address.rpartition(":")

        def ask(*hosts):
            with socket.create_connection((host, int(port)), 10) as s:
                s.sendall(("GET /metrics HTTP/1.1\r\n" + "".join(f"{h}\r\n" for h in hosts) + "\r\n").encode())
                return int(s.makefile("rb").readline().split()[1])
        for good in ("localhost", "LocalHost:" + port, address, "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:99"):
            expect(ask("Host: " + good) == 200, good)
            expect(ask("host:" + good + " ") == 200, good)
        for bad in ("evil.example", "evil.example:" + port, "127.0.0.1.evil.example", "localhost.evil.example", "localhost80",
                    "192.0.2.1", "[::2]:1", "127.0.0.1.evil.example:" + port, "", ":80", "unix:/x", "x" * 200):
            expect(ask("Host: " + bad) == 403, bad)
        expect(ask() == 403, "no Host")
        expect(ask("Host: localhost", "Host: evil.example") == 403, "two")
        found = run("status", "--admin", address)
        expect(found.returncode == 0, found.stdout + found.stderr)


def test_check():
    with tempfile.TemporaryDirectory(prefix="pugm-") as folder:
        conf, key = os.path.join(folder, "c"), os.path.join(folder, "key")
        with open(key, "wb") as f:
            f.write(b"x" * 32)

        def check(text, mode=0o600):
            os.chmod(key, mode)
            with open(conf, "w", encoding="utf-8") as f:
                f.write(text)
            return run("check", "--config", conf)
        good = check(f"credential_file = {key}\nlisten = *:80 unix:/x # both\n")
        expect(good.returncode == 0 and re.search("^layout=[0-9a-f]{16}$", good.stdout, re.M), good)
        bad = check(f"credential_file = {key}\n\nlisten = nowhere\nworkers = 61\nworkers = 1\n"
                    "max_body = 1X\nfoo = 1\njust words\naccess_log = maybe\n"
                    "jwt_issuer = \"open\nmail_dir = " + "y" * 300 + "\ntrusted_proxies = 10.0.0.0/99\n"
                    "cors_origins = ftp://x\n", 0o644)
        expect(bad.returncode == 1, bad)
        for line in (f"{conf}:4: workers: 61 is outside 0..60", f"{conf}:5: workers: given twice",
                     f"{conf}:6: max_body: '1X' is not a size", f"{conf}:7: foo: unknown option",
                     f"{conf}:8: expected key = value", f"{conf}:9: access_log: 'maybe' is not",
                     f"{conf}:10: jwt_issuer: quotes do not match",
                     f"{conf}:11: mail_dir: longer than 255 bytes", "listen: 'nowhere' is not",
                     "trusted_proxies: '10.0.0.0/99'", "cors_origins: 'ftp://x'",
                     "open to everybody (mode 644)"):
            expect(line in bad.stderr, line + " missing in\n" + bad.stderr)
        with open(key, "wb") as f:
            f.write(b"short")
        short = check(f"credential_file = {key}\n")
        expect(short.returncode == 1 and "must hold 32 to 128 bytes" in short.stderr, short)
        missing = run("check", "--config", conf + "none")
        expect(missing.returncode == 1 and "No such file" in missing.stderr, missing)
        over = run("check", "--config", conf, "-o", "workers=x", "-o", f"credential_file={conf}z")
        expect("-o workers: 'x' is not" in over.stderr, over)


def test_commands():
    expect(run("version").stdout.startswith("pugd "), "version")
    expect("quarantine clear" in run("help").stdout, "help")
    expect(run("fly", "-o", "user=x").returncode == 2, "unknown command")
    expect(run("--bogus").returncode == 2, "unknown option starts nothing")
    # Each says how it is called, whatever the settings are; on standard output, as asked.
    for words in ("status", "quarantine", "quarantine clear", "options", "check", "dev"):
        for flag in ("--help", "-h"):
            said = run(*words.split(), "--config", "/nonexistent", flag)
            expect(said.returncode == 0 and said.stdout.startswith("usage: pugd ") and not said.stderr, said)
            expect(words.split()[0] in said.stdout, said)
    expect(run("run", "--help").stdout == run("--help").stdout == run("help").stdout, "help of run")
    expect(run("fly", "--help").returncode == 2 and run("check", "now").returncode == 2, "still refused")
    absent = run("status", "--admin", "unix:/nonexistent/admin.sock")
    expect(absent.returncode == 1 and "cannot reach a running pugd" in absent.stderr, absent)


def test_shipped_files_match_the_table():
    with open(os.path.join(TOP, "systemd/pugd.conf"), encoding="utf-8") as f:
        expect(f.read() == run("options", "--sample").stdout,
               "systemd/pugd.conf is stale: pugd options --sample > systemd/pugd.conf")
    with open(os.path.join(TOP, "systemd/pugd.conf.5"), encoding="utf-8") as f:
        text = f.read()
    part = text.split('.\\" options begin\n')[1].split('.\\" options end\n')[0]
    expect(part == run("options", "--man").stdout,
           "systemd/pugd.conf.5 is stale: see systemd/README.md")


def test_unit_files():
    service = os.path.join(TOP, "systemd/pugd.service")
    if shutil.which("mandoc"):
        for page in ("pugd.8", "pugd.conf.5"):
            lint = subprocess.run(["mandoc", "-T", "lint", os.path.join(TOP, "systemd", page)],
                                  capture_output=True, text=True, check=False)
            expect(lint.returncode == 0 and not lint.stdout, lint.stdout)
    if shutil.which("systemd-analyze"):
        score = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20",
                                service], capture_output=True, text=True, check=False)
        expect(score.returncode == 0, score.stdout + score.stderr)
        verify_units()


def verify_units():
    """systemd-analyze wants the programs of the unit to exist, so they do, elsewhere."""
    with tempfile.TemporaryDirectory(prefix="pugm-") as folder:
        shutil.copy2(BIN["pugd"], os.path.join(folder, "pugd"))
        units = []
        for name in ("pugd.service", "pugd.socket"):
            with open(os.path.join(TOP, "systemd", name), encoding="utf-8") as f:
                text = f.read().replace("/usr/sbin/pugd", os.path.join(folder, "pugd"))
            units.append(os.path.join(folder, name))
            with open(units[-1], "w", encoding="utf-8") as f:
                f.write(text)
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", *units],
                              capture_output=True, text=True, check=False)
        ours = [line for line in (done.stdout + done.stderr).splitlines() if "pugd" in line]
        expect(done.returncode == 0 and not ours, done)


if __name__ == "__main__":
    sys.exit(main(globals()))
