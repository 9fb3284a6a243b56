#!/usr/bin/env python3
"""Commands of the operator that need the database: pugd admin create, pugd sessions revoke."""
import concurrent.futures
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
import uuid

import outbox
import pug

AUTH, ORGS, ME = "/auth.v1.AuthService/", "/orgs.v1.OrgsService/", "/customers.v1.CustomersService/"
P = None


def address():
    return f"Person-{uuid.uuid4().hex[:12]}@example.com"


def command(*words, url=None, options=()):
    line = [P.binary, *words, "--config", "/dev/null", "-o",
            "database_url=" + (url or P.info["database_url"]),
            "-o", "credential_file=" + os.path.join(P.data, "credential")]
    for option in options:
        line += ["-o", option]
    return line


def run(*words, stdin="", **kw):
    """(exit code, standard output, standard error)."""
    done = subprocess.run(command(*words, **kw), input=stdin, capture_output=True, text=True,
                          timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def create(email, *more, stdin="correct horse\n", **kw):
    return run("admin", "create", "--email", email, *more, stdin=stdin, **kw)


def sign_in(email, password="correct horse"):
    return P.ok(AUTH + "SignIn", {"email": email, "password": password})


def accounts(email):
    return P.psql(f"SELECT id FROM pugd.customers WHERE lower(email) = lower('{email}')")


def test_every_command_says_how_it_is_called(_):
    """On standard output, whatever the settings are; those of the master: tests/master/test_commands.py."""
    listed = subprocess.run([P.binary, "help"], capture_output=True, text=True, check=True).stdout
    for words in ("admin create", "export", "import", "mail", "mail list", "migrate", "profile restore", "retention",
                  "seal", "seed", "sessions revoke", "verify"):
        for flag in ("--help", "-h"):
            said = subprocess.run([P.binary, *words.split(), "--config", "/nonexistent", flag],
                                  capture_output=True, text=True, timeout=20, check=False)
            assert said.returncode == 0 and said.stdout.startswith("usage: pugd ") and not said.stderr, said
        assert f"pugd {words}" in said.stdout and f"\n  {words.split()[0]} " in listed, said.stdout
    assert subprocess.run([P.binary, "fly", "--help"], capture_output=True, check=False).returncode == 2


def test_admin_create(_):
    email = address()
    code, out, err = create(email, "--name", "Zoë", "--org", "Hundehütte")
    assert code == 0 and err == "", (code, out, err)
    made = re.fullmatch(r"customer=(\w{20}) org=(\w{20}) project=(\w{20})\n", out)
    assert made, out
    token = sign_in(email.upper())["token"]
    me = P.ok(ME + "Get", token=token)["customer"]
    assert (me["id"], me["email"], me["displayName"]) == (made[1], email, "Zoë"), me
    [org] = P.ok(ORGS + "List", token=token)["orgs"]
    assert org == {"id": made[2], "displayName": "Hundehütte", "role": "ORG_ROLE_ADMIN"}, org
    [project] = P.ok("/projects.v1.ProjectsService/List", {"orgId": org["id"]},
                     token=token)["projects"]
    assert (project["id"], project["displayName"]) == (made[3], "default"), project
    [key] = P.ok("/projects.v1.ProjectsService/ListApiKeys", token=token,
                 project=project["id"])["apiKeys"]
    assert P.ok("/events.v1.EventsService/BatchCreate", {"events": []}, key=key["key"]) is not None
    # The operator vouches for the address: a mailed link takes no password away.
    assert me["emailVerified"] is True
    P.ok(AUTH + "RequestMagicLink", {"email": email})
    P.ok(AUTH + "CompleteMagicLink", {"token": outbox.outbox_tokens(P, email)[-1]})
    sign_in(email)


def test_admin_create_with_the_least(_):
    email = address()
    code, out, err = create(email, stdin="correct horse")
    assert code == 0, (out, err)
    token = sign_in(email)["token"]
    assert [o["displayName"] for o in P.ok(ORGS + "List", token=token)["orgs"]] == ["default"]
    assert P.ok(ME + "Get", token=token)["customer"]["displayName"] == ""


def test_taken(_):
    email = address()
    P.ok(AUTH + "SignUp", {"email": email, "password": "its own one"})
    before = P.psql("SELECT count(*) FROM pugd.orgs")
    code, out, err = create(email.lower())
    assert code == 1 and out == "" and "exists already" in err, (code, out, err)
    assert P.psql("SELECT count(*) FROM pugd.orgs") == before
    sign_in(email, "its own one")
    # At once: one makes it, the others are told.
    email = address()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        codes = sorted(r[0] for r in pool.map(lambda _: create(email), range(4)))
    assert codes == [0, 1, 1, 1] and len(accounts(email)) == 1, codes


def test_refused_arguments(_):
    email = address()
    for words in ((), ("create",), ("make", "--email", email), ("create", "--email"),
                  ("create", "--email", email, "--password", "x"),
                  ("create", "--email", email, "--email", email), ("create", email),
                  ("create", "--email", "nobody"), ("create", "--email", "a" * 250 + "@b.example"),
                  ("create", "--email", email, "--org", ""),
                  ("create", "--email", email, "--name", "x" * 151)):
        code, out, err = run("admin", *words, stdin="correct horse\n")
        assert code == 2 and out == "" and err, (words, code, out, err)
    for words in ((), ("list",), ("revoke",), ("revoke", "--email", email, "--org", "x"),
                  ("revoke", "--email", email, "--link"), ("revoke", "--email", "nobody")):
        code, out, err = run("sessions", *words)
        assert code == 2 and out == "" and err, (words, code, out, err)
    for stdin in ("", "\n", "short\n", "x" * 129 + "\n", "nul\0in here\n"):
        code, out, err = create(email, stdin=stdin)
        assert code == 1 and "password" in err and "x" * 129 not in err, (stdin, code, out, err)
    code, _, err = create(email, "--link", options=["mail_dir=", "mail_url="])
    assert code == 1 and "mail" in err, err
    assert accounts(email) == []


def test_no_database(_):
    code, _, err = create(address(), url="postgresql://127.0.0.1:1/nothing?connect_timeout=2")
    assert code == 1 and err.startswith("pugd: "), err
    P.psql("CREATE DATABASE empty")
    url = re.sub(r"dbname=\w+", "dbname=empty", P.info["database_url"])
    if url == P.info["database_url"]:
        url = re.sub(r"/\w+(\?|$)", r"/empty\1", url)
    assert url != P.info["database_url"], url
    code, _, err = create(address(), url=url)
    assert code == 1 and "pugd migrate" in err, err
    code, _, err = run("sessions", "revoke", "--email", address(), url=url)
    assert code == 1 and "pugd migrate" in err, err


def test_link_instead_of_a_password(_):
    email = address()
    code, out, err = create(email, "--link", stdin="", options=outbox.WAITING)
    assert code == 0 and "link" in out, (out, err)
    [token] = outbox.outbox_tokens(P, email)
    assert token not in out + err
    pair = P.ok(AUTH + "CompleteMagicLink", {"token": token})
    assert len(P.ok(ORGS + "List", token=pair["token"])["orgs"]) == 1
    me = P.ok(ME + "Get", token=pair["token"])["customer"]
    assert me["emailVerified"] is True and me["hasPassword"] is False, me
    # Nothing is mailed for an address that is taken.
    code, _, err = create(email, "--link", stdin="", options=outbox.WAITING)
    assert code == 1 and "exists already" in err, err
    assert outbox.outbox_tokens(P, email) == [token]


def terminal(*words, answers, last=None):
    """Runs a command on a terminal. Answers prompts; returns (exit code, all that it showed)."""
    leader, follower = pty.openpty()
    child = subprocess.Popen(command(*words), stdin=follower, stdout=follower, stderr=follower,
                             start_new_session=True)
    shown = ""

    def read_until(done, seconds=20):
        nonlocal shown
        end = time.monotonic() + seconds
        while not done() and time.monotonic() < end:
            if select.select([leader], [], [], 0.05)[0]:
                shown += os.read(leader, 4096).decode()
        assert done(), shown

    def hidden():
        return not termios.tcgetattr(follower)[3] & termios.ECHO
    try:
        assert not hidden()
        for i, answer in enumerate(answers):
            read_until(lambda n=i: shown.count(": ") > n and hidden())
            os.write(leader, answer.encode())
        if last:
            read_until(lambda: shown.count(": ") > len(answers) and hidden())
            child.send_signal(last)
        read_until(lambda: child.poll() is not None)
        while select.select([leader], [], [], 0)[0]:
            shown += os.read(leader, 4096).decode()
        assert not hidden(), "the terminal has its echo back"
        return child.returncode, shown
    finally:
        child.kill()
        child.wait()
        os.close(leader)
        os.close(follower)


def test_password_on_a_terminal(_):
    email = address()
    words = ("admin", "create", "--email", email)
    code, shown = terminal(*words, answers=["correct horse\n", "correct house\n"])
    assert code == 1 and "different" in shown and "correct" not in shown, shown
    code, shown = terminal(*words, answers=["correct horse\n"], last=signal.SIGINT)
    assert code == 1 and accounts(email) == [], shown
    code, shown = terminal(*words, answers=["correct horse\n", "correct horse\n"])
    assert code == 0 and "correct" not in shown and "customer=" in shown, shown
    sign_in(email)


def test_sessions_revoke(_):
    email, other = address(), address()
    pairs = [P.ok(AUTH + "SignUp", {"email": email, "password": "correct horse"})]
    pairs += [sign_in(email) for _ in range(2)]
    stranger = P.ok(AUTH + "SignUp", {"email": other, "password": "correct horse"})
    assert run("sessions", "revoke", "--email", email.upper()) == (0, "3 sessions ended\n", "")
    for pair in pairs:
        status, answer, _ = P.call(AUTH + "RefreshToken", {"refreshToken": pair["refreshToken"]})
        assert status == 401, answer
    P.ok(AUTH + "RefreshToken", {"refreshToken": stranger["refreshToken"]})
    assert run("sessions", "revoke", "--email", email) == (0, "0 sessions ended\n", "")
    sign_in(email)
    assert run("sessions", "revoke", "--email", email) == (0, "1 session ended\n", "")
    code, out, err = run("sessions", "revoke", "--email", address())
    assert code == 1 and out == "" and "no account" in err, (code, out, err)


def test_help_names_them(_):
    code, out, _ = run("help")
    assert code == 0 and "admin create" in out and "sessions revoke" in out, out


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    variant = "asan" if "asan" in sys.argv else "test"
    with pug.Pug(variant, options=outbox.WAITING) as P:
        outbox.hold(P)
        P.variant = variant
        sys.exit(pug.main(tests))
