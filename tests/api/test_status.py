#!/usr/bin/env python3
"""`pugd status` of a server that has served, refused and lost something: text, --watch and --json."""
import http.client
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pug

BATCH = pug.BATCH
P = None


def status(*more):
    done = subprocess.run([P.binary, "status", "--admin", P.info["admin"], *more], capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 0, done
    return done.stdout


def some_life():
    """Calls that work and fail, a refused one, a worker's death, and one in quarantine."""
    for i in range(20):
        P.ok(BATCH, {"events": [{"name": "a", "distinctId": f"u{i}"}]}, key=P.info["public_key"])
    wrong = [P.call("/auth.v1.AuthService/SignIn", {"email": "x@example.com", "password": "wrong"})[0]
             for _ in range(4)]
    assert wrong == [401, 401, 401, 429], wrong
    for turn in range(2):
        try:
            P.call(BATCH, {"events": [{"name": "boom", "distinctId": "x"}]}, key=P.info["public_key"],
                   headers={"x-test-crash": "abort"})
        except (OSError, http.client.HTTPException):
            pass
        end = time.monotonic() + 20
        while P.admin()["deaths"] <= turn or P.admin()["ready_workers"] < 2:
            assert time.monotonic() < end
            time.sleep(0.02)


def test_json_has_it_all(_):
    some_life()
    page = json.loads(status("--json"))
    workers = [w for w in page["workers"] if w["role"] == "worker"]
    assert len(workers) == 2 and all(w["state"] == "ready" and w["db_up"] == 1 for w in workers), workers
    methods = {m["name"]: m for m in page["methods"]}
    batch = methods[BATCH[1:]]
    assert batch["codes"]["ok"] >= 20 and sum(batch["latency"]) == batch["calls"], batch
    limits = {x["name"]: x for x in page["limits"]}
    assert limits["account"] == {"name": "account", "per": "minute", "rate": 1, "burst": 3, "refused": 1}, limits
    assert (limits["key"]["rate"], limits["key"]["burst"], limits["key"]["refused"]) == (500, 2000, 0), limits
    assert page["counters"]["limited"] == 1 and len(page["quarantine"]) == 1, page


def test_text_shows_it_all(_):
    stop = time.monotonic() + 1.5
    page = subprocess.Popen([P.binary, "status", "--admin", P.info["admin"]], stdout=subprocess.PIPE, text=True)
    while time.monotonic() < stop:  # calls in the second that is looked at
        P.ok(BATCH, {"events": []}, key=P.info["public_key"])
        time.sleep(0.01)
    text = page.communicate(timeout=20)[0]
    assert page.returncode == 0 and f"pid {P.info['master_pid']}" in text, text
    assert re.search(r"serving, generation 1, 2 workers, up \S+$", text, re.M), text
    assert "reloads: 0 completed, 0 rejected; deaths: 2" in text, text
    rows = re.findall(r"^ *\d+ +\d+ +1 (worker|keeper) +ready +\S+ +\S+ +\d+ +\d+ +\S+ up$", text, re.M)
    assert sorted(rows) == ["keeper", "worker", "worker"], text
    # method, calls, calls/s, failed, p50, p99
    row = re.search(rf"^{re.escape(BATCH[1:])} +(\d+) +([\d.]+) +(\d+) +(\S+) +(\S+)$", text, re.M)
    assert row and int(row[1]) >= 20 and float(row[2]) > 5, text
    assert re.fullmatch(r"[\d.]+(us|ms|s)", row[4]) and re.fullmatch(r"[\d.]+(us|ms|s)", row[5]), text
    assert re.search(r"^key cache: [1-9]\d* hits, \d+ misses \([\d.]+% hits\), \d+ known wrong$", text, re.M), text
    assert re.search(r"^limits: 1 refused; quarantine: \d+ refused; shared slots repaired: \d+$", text, re.M), text
    assert re.search(r"^account +1/minute +3 +1$", text, re.M), text
    assert re.search(r"^key +500/second +2000 +0$", text, re.M), text
    assert re.search(r"^mailbox +off +", text, re.M), text
    assert re.search(r"^in quarantine: [0-9a-f]{16} after 2 deaths, for another \S+$", text, re.M), text


def test_watch_draws_again(_):
    """On a terminal: each frame begins at the top of an empty screen, and the next one is newer."""
    pid, fd = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it
        os.execv(P.binary, [P.binary, "status", "--watch", "--admin", P.info["admin"]])
    seen, end = b"", time.monotonic() + 20
    try:
        while seen.count(b"\x1b[H\x1b[2J") < 4 and time.monotonic() < end:
            if select.select([fd], [], [], 0.2)[0]:
                seen += os.read(fd, 65536)
    finally:
        os.kill(pid, 2)
        os.waitpid(pid, 0)
        os.close(fd)
    frames = seen.decode().split("\x1b[H\x1b[2J")[1:]
    assert len(frames) >= 3, seen
    for frame in frames[:3]:
        assert frame.startswith("pugd ") and "key cache:" in frame and "worker" in frame, frame
    ups = [re.search(r", up (\S+)", f).group(1) for f in frames[:3]]
    assert len(set(ups)) > 1, ups


def connections():
    return {w["pid"]: w["connections"] for w in P.admin()["workers"] if w["role"] == "worker"}


def test_few_connections_are_shared(_):
    """Clients that come one after another, eight at a time, go to both workers."""
    shares = []
    for _ in range(4):
        before, conns = connections(), [P.connect() for _ in range(8)]
        for conn in conns:
            conn.request("GET", "/healthz")
            conn.getresponse().read()
        end = time.monotonic() + 10
        while sum(connections().values()) < sum(before.values()) + 8:  # counted four times a second
            assert time.monotonic() < end, (before, connections())
            time.sleep(0.1)
        shares.append([n - before[pid] for pid, n in connections().items()])
        for conn in conns:
            conn.close()
        while sum(connections().values()) > sum(before.values()):
            assert time.monotonic() < end, (before, connections())
            time.sleep(0.1)
    assert sum(max(s) <= 6 for s in shares) >= 3, shares


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    options = ["workers=2", "limit_scale=1", "limit_signin_burst=3", "limit_signin_per_minute=1",
               "limit_link_per_hour=0"]
    with pug.Pug("asan" if "asan" in sys.argv else "test", options=options) as P:
        sys.exit(pug.main(tests, expects=pug.ABORTS))
