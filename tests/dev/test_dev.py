#!/usr/bin/env python3
"""`pugd dev`, the one command for developers: what it prints and promises works, it keeps
its data, ends without a trace, and needs no root."""
import contextlib
import http.client
import json
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid

import pug

BATCH = "/events.v1.EventsService/BatchCreate"
QUERY = "/insights.v1.InsightsService/Query"
LIST = "/activity.v1.ActivityService/List"
PROMISED = {"url", "email", "password", "viewer_email", "viewer_password", "org_id", "project_id",
            "public_key", "private_key", "mail_dir", "database_url", "pid", "master_pid"}
SEED = 2000


def places(data):
    """Paths that name a data folder: its own, and where root keeps the database."""
    link = os.path.join(data, "postgres")
    return [os.path.realpath(data)] + ([os.path.realpath(link)] if os.path.islink(link) else [])


def processes(names):
    """Command lines of processes that name one of these folders, or stand in it."""
    out = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        if int(pid) == os.getpid():
            continue
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                text = f.read().replace(b"\0", b" ").decode("utf-8", "replace")
            where = os.readlink(f"/proc/{pid}/cwd")
        except OSError:
            continue
        if any(n in text or where == n or where.startswith(n + "/") for n in names):
            out.append(f"{pid} {text}")
    return out


def no_trace(names, port=None, seconds=10):
    end = time.monotonic() + seconds
    while processes(names):
        assert time.monotonic() < end, processes(names)
        time.sleep(0.05)
    if port:
        with socket.socket() as s:
            assert s.connect_ex(("127.0.0.1", port)) != 0, "the port is still open"


@contextlib.contextmanager
def folder():
    """A data folder that several runs share."""
    path = tempfile.mkdtemp(prefix="pugdev-")
    try:
        yield path
    finally:
        for name in places(path):
            shutil.rmtree(name, ignore_errors=True)


def total(p, aggregation="TOTAL", patience=0):
    """Of all events; other workers may still be on their way back to the database."""
    end = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 300 * 86400))
    give_up = time.monotonic() + patience
    while True:
        status, answer, _ = p.call(QUERY, {"spec": {
            "insightType": "INSIGHT_TYPE_SEGMENTATION", "events": [
                {"event": {"kind": ""}, "aggregation": "AGGREGATION_TYPE_" + aggregation}]},
            "granularity": "GRANULARITY_DAY", "timeRange": {"from": start, "to": end}},
            key=p.info["private_key"])
        if status == 200:
            return answer["segmentation"].get("total", 0)
        assert status == 503 and time.monotonic() < give_up, (status, answer)
        time.sleep(0.1)


def all_events(p):
    """Every event of the demo project, page by page."""
    out, page = [], ""
    while True:
        answer = p.ok(LIST, {"pageSize": 500, "pageToken": page} if page else {"pageSize": 500},
                      key=p.info["private_key"])
        out += answer.get("events", [])
        page = answer.get("nextPageToken", "")
        if not page:
            return out


def curls(text):
    """The two printed calls, as they stand in the banner."""
    return re.findall(r"^  (curl (?:.*\\\n)*.*)$", text, re.M)


def test_promises(variant):
    with pug.Pug(variant, seed=SEED) as p:
        path = os.path.join(p.data, "dev.json")
        mode = os.stat(path)
        assert stat.S_IMODE(mode.st_mode) == 0o600, oct(mode.st_mode)
        assert PROMISED <= set(p.info), PROMISED - set(p.info)
        assert all(p.info[k] for k in PROMISED), p.info
        assert p.info["pid"] == p.child.pid and os.path.isdir(p.info["mail_dir"])
        with open(f"/proc/{p.info['master_pid']}/cmdline", "rb") as f:
            assert b"\0run\0" in f.read()
        for secret in ("credential", "demo.conf"):
            assert stat.S_IMODE(os.stat(os.path.join(p.data, secret)).st_mode) == 0o600, secret
        # Both people and both keys.
        for viewer in (False, True):
            token = p.sign_in(viewer)
            orgs = p.ok("/orgs.v1.OrgsService/List", token=token)["orgs"]
            assert p.info["org_id"] in [o["id"] for o in orgs], orgs
            assert p.ok("/projects.v1.ProjectsService/Get", token=token,
                        project=p.info["project_id"])["project"]["id"] == p.info["project_id"]
        assert total(p) == SEED, total(p)
        demo(p)
        banner(p)


def demo(p):
    """Believable: months, sessions, people who signed up and were merged, revenue."""
    events = all_events(p)
    assert len(events) == SEED, len(events)
    people = total(p, "UNIQUE_USERS")
    ids = {e["distinctId"] for e in events}
    assert 1 < people < len(ids), (people, len(ids))
    days = {e["occurTime"][:10] for e in events}
    assert len(days) > 60 and max(days) <= time.strftime("%Y-%m-%d", time.gmtime()), len(days)
    kinds = {e["kind"] for e in events}
    assert {"page_view"} < kinds and len(kinds) >= 4, kinds
    assert len({e["sessionId"] for e in events}) > 50, len({e["sessionId"] for e in events})
    numbers = [v for e in events for v in e.get("customProperties", {}).values()
               if isinstance(v, float) and v > 0]
    assert numbers, "no revenue"


def banner(p):
    text = p.log()
    lines = curls(text)
    assert len(lines) == 2, text[-3000:]
    for secret in (p.info["email"], p.info["password"], p.info["project_id"], p.info["public_key"],
                   p.info["url"]):
        assert secret in text, secret
    done = subprocess.run(["sh", "-c", lines[0]], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout) == {"accepted": 1, "dropped": 0, "eventsCreated": 1}, done
    assert total(p) == SEED + 1
    done = subprocess.run(["sh", "-c", lines[1]], capture_output=True, text=True, timeout=60)
    points = json.loads(done.stdout)["trends"]["series"][0]["points"]
    assert len(points) > 5 and sum(pt["value"] for pt in points) > 10, points
    look = re.search(r"^Look inside: (.*) --watch$", text, re.M).group(1)
    done = subprocess.run(["sh", "-c", look], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "worker" in done.stdout, done


def test_readme(variant):
    """The commands of README.md's first steps, with nothing but address and folder changed."""
    with open(os.path.join(pug.TOP, "README.md"), encoding="utf-8") as f:
        text = f.read().split("## First event")[1].split("\n## ")[0]
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    with pug.Pug(variant) as p:
        script = "\n".join(lines).replace("localhost:8080", f"localhost:{p.port}")
        assert script.count("curl") == 2 and ".pug/dev.json" in script, script
        done = subprocess.run(["sh", "-e", "-c", script.replace(".pug/", p.data + "/")],
                              capture_output=True, text=True, timeout=60)
        first, at = json.JSONDecoder().raw_decode(done.stdout)
        assert first == {"accepted": 1, "dropped": 0, "eventsCreated": 1}, done
        assert json.loads(done.stdout[at:])["segmentation"]["total"] == 12.5, done


def test_again_keeps_everything(variant):
    with folder() as data:
        first = pug.Pug(variant, seed=300, data=data).start()
        try:
            pair = first.ok("/auth.v1.AuthService/SignIn", {"email": first.info["email"],
                                                            "password": first.info["password"]})
            first.ok(BATCH, {"events": [{"name": "kept", "distinctId": "me"}]},
                     key=first.info["public_key"])
            port = first.port
        finally:
            names = places(data)
            code = first.stop(signal.SIGINT)
        assert code == 0, first.log()[-2000:]
        no_trace(names, port)
        assert not os.path.exists(os.path.join(data, "dev.json"))
        second = pug.Pug(variant, seed=300, data=data).start()
        try:
            same = PROMISED - {"url", "pid", "master_pid"}
            assert {k: second.info[k] for k in same} == {k: first.info[k] for k in same}
            assert second.ok("/orgs.v1.OrgsService/List", token=pair["token"])["orgs"]
            second.ok("/auth.v1.AuthService/RefreshToken", {"refreshToken": pair["refreshToken"]})
            assert total(second) == 301, total(second)
        finally:
            code = second.stop(signal.SIGTERM)
        assert code == 0, second.log()[-2000:]
        no_trace(names, second.port)


def run(variant, *args, timeout=120, **kw):
    """`pugd dev` with arguments, to its end: (code, what it printed)."""
    binary = os.path.join(pug.TOP, "build", variant, "pugd")
    done = subprocess.run([binary, "dev", *args], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          stdin=subprocess.DEVNULL, timeout=timeout, text=True, **kw)
    return done.returncode, done.stdout


def test_refusals(variant):
    with pug.Pug(variant) as p:
        code, text = run(variant, "--data", p.data, "--port", "0")
        assert code == 2 and "in use by another pugd dev" in text and p.data in text, text
        assert os.path.exists(os.path.join(p.data, "dev.json"))
        assert p.call("/readyz", method="GET")[0] == 200
        with folder() as data:
            code, text = run(variant, "--data", data, "--port", str(p.port))
            assert code == 1 and f"127.0.0.1:{p.port}" in text and "in use" in text, text
            for bad in (["--port", "x"], ["--port", "65536"], ["--seed", "-1"], ["--data"],
                        ["--nonsense", "1"], ["-o"]):
                code, text = run(variant, "--data", data, *bad)
                assert code == 2 and "pugd dev" in text, (bad, text)
            code, text = run(variant, "--data", data, "--port", "0", "-o", "wrokers=2")
            assert code == 1 and "wrokers" in text, text
            no_trace(places(data))
    code, text = run(variant, "--data", "/proc/nowhere/x")
    assert code not in (0, None) and "/proc/nowhere/x" in text, text


def workers(p):
    return sum(w["role"] == "worker" for w in p.admin()["workers"])


def test_settings(variant):
    with folder() as data:
        config = os.path.join(data, "my.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write("# mine\nworkers = 3\nmax_body = 64K\n")

        def start(**kw):
            p = pug.Pug(variant, data=data, **kw).start()
            try:
                status = p.call(BATCH, raw=b"{}" + b" " * 70000, key=p.info["public_key"])[0]
                return workers(p), status
            finally:
                assert p.stop() == 0

        assert start(config=config) == (3, 429)
        assert start(config=config, options=["workers=2"]) == (2, 429)
        os.environ["PUGD_CONFIG"] = config
        try:
            assert start() == (os.cpu_count(), 200)  # Pug() hides the variable
            child = pug.Pug(variant, data=data)
            child.binary = wrapper(child.binary, data, config)
            child.start()
            try:
                assert workers(child) == 3
            finally:
                assert child.stop() == 0
        finally:
            del os.environ["PUGD_CONFIG"]


def wrapper(binary, data, config):
    path = os.path.join(data, "wrapped")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"#!/bin/sh\nPUGD_CONFIG={config} exec {binary} \"$@\"\n")
    os.chmod(path, 0o755)
    return path


def postmaster(p):
    for path in ("postgres/data/postmaster.pid", "postgres/postmaster.pid"):
        path = os.path.join(p.data, path)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                return int(f.readline())
    raise AssertionError("no postmaster.pid")


def test_both_loopbacks(variant):
    """To some clients localhost is ::1 only."""
    with pug.Pug(variant) as p:
        addresses = ["127.0.0.1"]
        with socket.socket(socket.AF_INET6) as s:
            try:
                s.bind(("::1", 0))
                addresses.append("::1")
            except OSError:
                pass  # a machine without IPv6
        for address in addresses:
            conn = http.client.HTTPConnection(address, p.port, timeout=10)
            conn.request("GET", "/healthz")
            assert conn.getresponse().read() == b"ok", address
            conn.close()


def test_killed_database_comes_back(variant):
    with pug.Pug(variant) as p:
        sent = 0
        for round_ in range(3):
            before = p.admin()
            # The other worker may still be on its way back from the round before.
            first = {"name": "a", "distinctId": "u", "eventId": str(uuid.uuid4()),
                     "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            for _ in range(100):
                status = p.call(BATCH, {"events": [first]}, key=p.info["public_key"])[0]
                if status != 503:
                    break
                time.sleep(0.1)
            assert status == 200, status
            sent += 1
            os.kill(postmaster(p), signal.SIGKILL)
            end = time.monotonic() + 60
            event = {"name": "a", "distinctId": "u", "eventId": str(uuid.uuid4()),
                     "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            while p.call(BATCH, {"events": [event]}, key=p.info["public_key"])[0] != 200:
                assert time.monotonic() < end, p.log()[-3000:]
                time.sleep(0.1)
            sent += 1
            assert total(p, patience=60) == sent, (round_, total(p))
            after = p.admin()
            assert {w["pid"] for w in before["workers"]} == {w["pid"] for w in after["workers"]}
            assert after["pid"] == before["pid"] and after["deaths"] == 0


def test_reload_and_status(variant):
    with pug.Pug(variant) as p:
        os.kill(p.info["pid"], signal.SIGHUP)
        end = time.monotonic() + 60
        while p.admin()["completed"] < 1:
            assert time.monotonic() < end, p.log()[-2000:]
            time.sleep(0.05)
        assert p.call("/readyz", method="GET")[0] == 200
        done = subprocess.run([p.binary, "status", "--json", "--admin", p.info["admin"]],
                              capture_output=True, text=True, timeout=30)
        assert json.loads(done.stdout)["generation"] == 2, done


def test_interrupted_start(variant):
    """^C while it creates, migrates or seeds: everything ends, and it can start again."""
    binary = os.path.join(pug.TOP, "build", variant, "pugd")
    with folder() as data:
        for wait in (0.1, 0.5, 0.7, 0.9, 1.0, 1.1, 1.2, 1.3, 1.5, 2.5):
            with tempfile.TemporaryFile() as out:
                child = subprocess.Popen([binary, "dev", "--data", data, "--port", "0", "--seed",
                                          "3000000"], stdout=out, stderr=out, cwd=pug.TOP)
                try:
                    time.sleep(wait)
                    child.send_signal(signal.SIGINT)
                    assert child.wait(60) in (1, -signal.SIGINT)
                finally:
                    child.kill()
                    child.wait()
            no_trace(places(data))
        p = pug.Pug(variant, data=data).start()
        try:
            assert p.sign_in()
        finally:
            assert p.stop() == 0


def test_killed_leaves_nothing(variant):
    with pug.Pug(variant) as p:
        names = places(p.data)
        os.kill(p.child.pid, signal.SIGKILL)
        p.child.wait()
        no_trace(names, p.port, 30)
        # And the folder can be used again.
        os.unlink(os.path.join(p.data, "dev.json"))
        p.start()
        assert p.sign_in()


# ---- as an ordinary user -----------------------------------------------------------------

def as_user(command):
    """The command as somebody without rights; unchanged when we are that already."""
    if os.getuid() != 0:
        return command
    entry = pwd.getpwnam("nobody")
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups",
            *command]


@contextlib.contextmanager
def home(variant):
    """A folder of the ordinary user with a copy of the binary in it."""
    path = tempfile.mkdtemp(prefix="pugdev-")
    try:
        shutil.copy(os.path.join(pug.TOP, "build", variant, "pugd"), path)
        if os.getuid() == 0:
            entry = pwd.getpwnam("nobody")
            os.chown(path, entry.pw_uid, entry.pw_gid)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def serve_as_user(variant, top, data):
    """Starts, calls and stops it; data is below top, which is also the working folder."""
    env = {"PATH": os.environ["PATH"], "HOME": top, "LANG": "C"}
    command = [os.path.join(top, "pugd"), "dev", "--port", "0", "--seed", "50", "--data", data]
    full = os.path.join(top, data)
    with open(os.path.join(top, "out"), "w+", encoding="utf-8") as out:
        child = subprocess.Popen(as_user(command), stdout=out, stderr=out, cwd=top, env=env,
                                 stdin=subprocess.DEVNULL)
        try:
            end = time.monotonic() + 180
            while not os.path.exists(os.path.join(full, "dev.json")):
                out.seek(0)
                assert child.poll() is None and time.monotonic() < end, out.read()[-3000:]
                time.sleep(0.05)
            with open(os.path.join(full, "dev.json"), encoding="utf-8") as f:
                info = json.load(f)
            if os.getuid() == 0:
                uid = os.stat(f"/proc/{info['master_pid']}").st_uid
                assert uid == pwd.getpwnam("nobody").pw_uid
            with urllib.request.urlopen(info["url"] + "/readyz", timeout=30) as answer:
                assert json.load(answer)["ready"] is True
            out.seek(0)
            lines = curls(out.read())
            done = subprocess.run(["sh", "-c", lines[0]], capture_output=True, text=True,
                                  timeout=60)
            assert json.loads(done.stdout)["eventsCreated"] == 1, done
            assert full in info["mail_dir"], info
        finally:
            child.send_signal(signal.SIGTERM)
            code = child.wait(60)
        out.seek(0)
        assert code == 0, out.read()[-3000:]
        no_trace([os.path.realpath(full)], urllib.parse.urlsplit(info["url"]).port)


def test_ordinary_user(variant):
    with home(variant) as top:
        serve_as_user(variant, top, "data")
        serve_as_user(variant, top, "data")


def test_odd_folders(variant):
    """Names that a URL, a shell or a socket's path would choke on."""
    with home(variant) as top:
        for data in ("with space & 100%41", "long-" + "x" * 150, "quote'd,\"b\\c"):
            serve_as_user(variant, top, data)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_") and callable(f)]
    sys.exit(pug.main(tests))
