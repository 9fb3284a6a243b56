#!/usr/bin/env python3
"""Who pays for calls that are refused: guessers of passwords and keys, strangers to a project."""
import concurrent.futures
import contextlib
import os
import secrets
import signal
import socket
import sys
import time
import uuid

import pug

AUTH, ORGS, PROJECTS = "/auth.v1.AuthService/", "/orgs.v1.OrgsService/", "/projects.v1.ProjectsService/"
BATCH = "/events.v1.EventsService/BatchCreate"
P = None


def at_once(n, one):
    """Statuses of n calls that are under way at the same time."""
    with concurrent.futures.ThreadPoolExecutor(n) as pool:
        return [f.result()[0] for f in [pool.submit(one, i) for i in range(n)]]


def new_account():
    email = f"p-{uuid.uuid4().hex[:12]}@example.com"
    return email, P.ok(AUTH + "SignUp", {"email": email, "password": "correct horse"})["token"]


def test_guesses_at_once_count_too(_):
    email, _ = new_account()
    got = at_once(40, lambda i: P.call(AUTH + "SignIn", {"email": email, "password": f"wrong {i}"}))
    assert got.count(401) <= 11 and got.count(429) >= 29, got
    # Whoever guesses right now must not learn it.
    got = P.call(AUTH + "SignIn", {"email": email, "password": "correct horse"})[0]
    assert got == 429, got


def test_right_passwords_at_once_are_free(_):
    email, _ = new_account()
    got = at_once(30, lambda _: P.call(AUTH + "SignIn", {"email": email, "password": "correct horse"}))
    assert got == [200] * 30, got


def test_a_stranger_to_a_project_is_charged(_):
    _, token = new_account()
    got = [P.call(PROJECTS + "Get", token=token, project="0" * 20)[0] for _ in range(40)]
    assert got[:20] == [403] * 20 and got[-1] == 429, got
    _, answer, headers = P.call(PROJECTS + "Get", token=token)
    assert answer["code"] == "resource_exhausted" and int(headers["retry-after"]) >= 1, answer
    assert '"customer"' in headers["ratelimit-policy"], headers


def test_a_key_of_another_project_is_charged(_):
    _, token = new_account()
    org = P.ok(ORGS + "List", token=token)["orgs"][0]["id"]
    project = P.ok(PROJECTS + "List", {"orgId": org}, token=token)["projects"][0]["id"]
    key = P.ok(PROJECTS + "ListApiKeys", token=token, project=project)["apiKeys"][0]["key"]
    got = [P.call(BATCH, {"events": []}, key=key, project="0" * 20)[0] for _ in range(60)]
    assert got[:20] == [403] * 20 and got[-1] == 429, got


def test_guessed_keys_are_charged_to_the_address(_):
    P.call(BATCH, {"events": []}, key=P.info["public_key"])
    got = [P.call(BATCH, {"events": []}, key="pub_" + secrets.token_hex(20))[0] for _ in range(140)]
    assert got[:100] == [401] * 100 and got[-1] == 429, got
    got = at_once(40, lambda _: P.call(BATCH, {"events": []}, key="pub_" + secrets.token_hex(20)))
    assert got.count(401) <= 10, got
    # Keys that are good and known go on, as do those that are known to be bad.
    assert P.call(BATCH, {"events": []}, key=P.info["public_key"])[0] in (200, 400)
    time.sleep(1)
    bad = "pub_" + secrets.token_hex(20)
    assert P.call(BATCH, {"events": []}, key=bad)[0] == 401
    got = [P.call(BATCH, {"events": []}, key=bad)[0] for _ in range(40)]
    assert got == [401] * 40, got


@contextlib.contextmanager
def stopped_database():
    """PostgreSQL is there and says nothing."""
    for path in ("postgres/data/postmaster.pid", "postgres/postmaster.pid"):
        path = os.path.join(P.data, path)
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                top = f.readline().strip()
    with open(f"/proc/{top}/task/{top}/children", encoding="ascii") as f:
        pids = [int(top)] + [int(p) for p in f.read().split()]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        while P.call("/readyz", method="GET")[0] != 200:
            time.sleep(0.1)


def test_waiters_keep_their_deadline(_):
    key = "pub_" + secrets.token_hex(20)
    with stopped_database(), concurrent.futures.ThreadPoolExecutor(8) as pool:
        # One of these looks the key up for all of its worker.
        slow = [pool.submit(P.call, BATCH, {"events": []}, key=key) for _ in range(4)]
        time.sleep(0.3)
        start = time.monotonic()
        quick = {"connect-timeout-ms": "400"}
        got = [f.result()[0] for f in [pool.submit(P.call, BATCH, {"events": []}, key=key,
                                                   headers=quick) for _ in range(4)]]
        took = time.monotonic() - start
        assert got == [504] * 4 and took < 2, (got, took)
        for f in slow:
            assert f.result()[0] in (503, 504), f.result()


def test_hasty_guesses_are_charged(_):
    """The database's answer is not waited for, so nobody knows that the key was wrong."""
    quick = {"connect-timeout-ms": "20"}
    with stopped_database():
        time.sleep(0.2)
        got = [P.call(BATCH, {"events": []}, key="pub_" + secrets.token_hex(20), headers=quick)[0]
               for _ in range(140)]
    assert got.count(504) <= 130 and got[-1] == 429, got


def test_health_pages_hold_nothing_up(_):
    assert P.call("/readyz", method="GET")[0] == 200
    with stopped_database(), contextlib.ExitStack() as stack:
        socks = [stack.enter_context(socket.create_connection((P.host, P.port))) for _ in range(150)]
        for s in socks:
            s.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(1)
        answered = 0
        for s in socks:
            s.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                answered += s.recv(100).startswith(b"HTTP/1.1 ")
        assert answered >= 148, answered


def test_password_work_costs_more(_):
    """The rate class AUTH: a fifth as often as other public calls of one address."""
    here = {"x-forwarded-for": "198.51.100.7"}
    got = [P.call(AUTH + "SignIn", {"email": f"x{i}@example.com", "password": "wrong"},
                  headers=here)[0] for i in range(26)]
    assert got[:20] == [401] * 20 and got[-1] == 429, got
    there = {"x-forwarded-for": "198.51.100.8"}
    got = [P.call(AUTH + "SignOut", {}, headers=there)[0] for _ in range(60)]
    assert got == [200] * 60, got


def from_anywhere(call):
    """Sign-ins of other tests come from many addresses; loopback is a trusted proxy here."""
    def spread(path, body=None, headers=None, **kw):
        if path.startswith(AUTH):
            address = ".".join(str(secrets.randbelow(254) + 1) for _ in range(3))
            headers = {"x-forwarded-for": "203." + address, **(headers or {})}
        return call(path, body, headers=headers, **kw)
    return spread


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    options = ["workers=2", "limit_scale=1", "limit_address_rate=5", "limit_address_burst=100"]
    options += ["limit_customer_rate=1", "limit_customer_burst=30", "limit_key_rate=1", "limit_key_burst=30"]
    with pug.Pug(variant, options=options) as P:
        P.call = from_anywhere(P.call)
        sys.exit(pug.main(tests))
