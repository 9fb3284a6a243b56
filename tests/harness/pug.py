"""A whole pugd for tests: `pugd dev` on a free port in a private folder.

    with Pug(variant="test") as p:
        status, body, headers = p.call("/auth.v1.AuthService/SignIn", {"email": ...})
"""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

BATCH = "/events.v1.EventsService/BatchCreate"
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


# Values under these names in requests and answers, and in these headers, are nobody's
# business: never in a log line, an error text or a metric (SECURITY.md).
SECRET_NAMES = {"password", "token", "refreshToken", "key", "apiKey", "credential", "code",
                "codeVerifier", "nonce", "email", "recipient", "shareId"}
SECRET_HEADERS = ("x-api-key", "authorization")
BANNER = re.compile(r"pugd serves at .*?Stop: \^C", re.S)
WORD = re.compile(r"[\w@.+-]{8,}")
ERROR = re.compile(r"^\S+Z (?:emerg|alert|crit|error) .*$", re.M)
# what a server says of a suite that kills its processes; any other death is a crash
KILLS = (r"worker died .* signal=9 name=SIGKILL(?! hung)", "crash budget exceeded ")
ABORTS = (*KILLS, r"worker died .* signal=6 name=SIGABRT(?! hung)")  # of one that aborts at points of its code
EXPECTED = []  # patterns of what this suite provokes (main()); no other error may be in a server's log


def secrets_in(value, found):
    """Collects the secrets of a request or an answer; short and plain words are none."""
    if isinstance(value, list):
        for item in value:
            secrets_in(item, found)
    for name, item in value.items() if isinstance(value, dict) else ():
        if isinstance(item, str) and name in SECRET_NAMES:
            if len(item) >= 8 and not item.isdigit() and not item.isalpha():
                found.add(item)
        else:
            secrets_in(item, found)
    return found


class Pug:
    secrets = frozenset()  # of this server's calls, so far

    def __init__(self, variant="test", seed=0, options=(), binary=None, data=None, config=None):
        if variant == "test":
            variant = os.environ.get("PUGD_VARIANT", variant)
        self.binary = binary or os.path.join(TOP, "build", variant, "pugd")
        self.slow = variant in ("asan", "tsan")
        self.own_data = data is None
        self.data = data or tempfile.mkdtemp(prefix="pugt-")
        self.options = list(options)
        self.seed = seed
        self.config = config
        self.log_path = os.path.join(self.data, "pugd.log")
        self.child = None
        self.info = {}

    def start(self, timeout=120):
        command = [self.binary, "dev", "--data", self.data, "--port", "0", "--seed", str(self.seed)]
        if self.config:
            command += ["--config", self.config]
        for option in self.options:
            command += ["-o", option]
        env = {k: v for k, v in os.environ.items()
               if k not in ("NOTIFY_SOCKET", "LISTEN_FDS", "PUGD_CONFIG")}
        with open(self.log_path, "ab") as log:
            self.child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=env,
                                          stdin=subprocess.DEVNULL, cwd=TOP)
        path = os.path.join(self.data, "dev.json")
        end = time.monotonic() + timeout * (3 if self.slow else 1)
        while not os.path.exists(path):
            if self.child.poll() is not None or time.monotonic() > end:
                text = self.log()
                self.stop()
                raise RuntimeError("pugd dev did not start:\n" + text[-4000:])
            time.sleep(0.02)
        with open(path, encoding="utf-8") as f:
            self.info = json.load(f)
        parts = urllib.parse.urlsplit(self.info["url"])
        self.host, self.port = parts.hostname, parts.port
        self.secrets |= {self.info[k] for k in ("password", "viewer_password", "public_key",
                                                "private_key") if k in self.info}
        return self

    def stop(self, how=signal.SIGTERM, timeout=60):
        """Ends it and removes what it made. Returns the exit code."""
        code = None
        if self.child:
            if self.child.poll() is None:
                self.child.send_signal(how)
            try:
                code = self.child.wait(timeout)
            except subprocess.TimeoutExpired:
                self.child.kill()
                code = self.child.wait()
            self.child = None
        return code

    def clean(self):
        self.stop()
        if not self.own_data:
            return
        link = os.path.join(self.data, "postgres")
        if os.path.islink(link):
            shutil.rmtree(os.path.realpath(link), ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)

    def __enter__(self):
        try:
            return self.start()
        except BaseException:
            self.clean()
            raise

    def __exit__(self, *_):
        texts = self.pages()
        self.stop()
        finding, errors = self.finding(), self.errors()
        told = self.told([*texts, BANNER.sub("", self.log())])
        self.clean()
        if finding:
            raise AssertionError("the sanitizers found something:\n" + finding)
        if errors:
            raise AssertionError("errors in the log that nobody provoked:\n" + "\n".join(errors[:5]))
        if told:
            raise AssertionError(f"secrets in the log or on the admin pages: {told[:5]}")

    def pages(self):
        """What the admin page says, as far as it still answers."""
        try:
            return [json.dumps(self.admin()), self.admin("/metrics")]
        except (OSError, KeyError, IndexError, ValueError):
            return []

    def told(self, texts):
        """Secrets of this server's calls that stand in one of the texts."""
        words = {w.strip(".-") for text in texts for w in WORD.findall(text)}
        odd = {s for s in self.secrets if not WORD.fullmatch(s)}
        return sorted((self.secrets & words) | {s for s in odd if any(s in t for t in texts)})

    def finding(self):
        """What a sanitizer wrote into the log; workers report leaks as they leave."""
        text = self.log()
        at = min((i for i in (text.find("ERROR: AddressSanitizer"), text.find("runtime error:"),
                              text.find("ERROR: LeakSanitizer"), text.find("WARNING: ThreadSanitizer")) if i >= 0), default=-1)
        return text[at:at + 4000] if at >= 0 else ""

    def errors(self):
        """Lines of its log that tell of an error which this suite does not provoke: a death, say."""
        return [line for line in ERROR.findall(self.log()) if not any(re.search(e, line) for e in EXPECTED)]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def connect(self, timeout=30):
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout)

    def raw(self, data, timeout=10):
        """Sends bytes, returns everything until the server closes or falls silent."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as s:
            s.sendall(data)
            out = b""
            try:
                while True:
                    piece = s.recv(65536)
                    if not piece:
                        break
                    out += piece
            except socket.timeout:
                pass
            return out

    def call(self, path, body=None, token=None, key=None, project=None, headers=None, conn=None,
             method="POST", raw=None):
        """One Connect JSON call: (status, decoded body or bytes, headers)."""
        h = {"content-type": "application/json"}
        if token:
            h["authorization"] = "Bearer " + token
        if key:
            h["x-api-key"] = key
        if project:
            h["x-project-id"] = project
        h.update(headers or {})
        own = conn is None
        conn = conn or self.connect()
        given = secrets_in(body, {h[name].split(" ")[-1] for name in SECRET_HEADERS if h.get(name)})
        self.secrets |= given
        try:
            data = raw if raw is not None else json.dumps({} if body is None else body).encode()
            conn.request(method, path, body=None if method == "GET" else data, headers=h)
            answer = conn.getresponse()
            text = answer.read()
            got = {k.lower(): v for k, v in answer.getheaders()}
            if got.get("content-type", "").startswith("application/json") and text:
                decoded = json.loads(text)
                if answer.status == 200:
                    self.secrets |= secrets_in(decoded, set())
                elif any(s in str(decoded.get("message")) for s in given if len(s) >= 8):
                    raise AssertionError(f"{path}: the error repeats a secret: {decoded}")
                return answer.status, decoded, got
            return answer.status, text, got
        finally:
            if own:
                conn.close()

    def ok(self, path, body=None, **kw):
        """As call(), but fails unless the answer is 200; returns the body."""
        status, answer, _ = self.call(path, body, **kw)
        if status != 200:
            raise AssertionError(f"{path}: {status} {answer}")
        return answer

    def sign_in(self, viewer=False):
        prefix = "viewer_" if viewer else ""
        return self.ok("/auth.v1.AuthService/SignIn",
                       {"email": self.info[prefix + "email"],
                        "password": self.info[prefix + "password"]})["token"]

    def admin(self, path="/status.json"):
        """GET on the admin socket."""
        address = self.info["admin"]
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            s.connect(address[len("unix:"):])
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            out = b""
            while True:
                piece = s.recv(65536)
                if not piece:
                    break
                out += piece
        body = out.split(b"\r\n\r\n", 1)[1]
        return json.loads(body) if path.endswith(".json") else body.decode()

    def connections_by_worker(self, each=1):
        """Open connections by the slot of the worker that has them, `each` or more of every worker's.
        Which worker it is, the access log says."""
        want = len([w for w in self.admin()["workers"] if w["role"] == "worker" and w["state"] == "ready"])
        found, log = {}, os.path.getsize(self.log_path)
        for turn in range(100 * want * each):
            conn, tag = self.connect(), f"probe-{os.getpid()}-{turn}-{time.monotonic_ns()}"
            self.ok(BATCH, {"events": []}, key=self.info["private_key"],
                    conn=conn, headers={"x-request-id": tag})
            end, line = time.monotonic() + 10, None
            while not line:
                assert time.monotonic() < end, "no access-log line"
                with open(self.log_path, encoding="utf-8", errors="replace") as f:
                    f.seek(log)
                    line = re.search(rf"^.*\b{tag}\b.*\n", f.read(), re.M)
            found.setdefault(re.search(r" w=(\d+)", line.group(0)).group(1), []).append(conn)
            if len(found) == want and min(map(len, found.values())) >= each:
                return found
        raise AssertionError(f"connections went to {sorted(found)} only")

    def psql(self, sql):
        """Rows of one statement, as lists of text, through psql."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1",
                               "-d", self.info["database_url"], "-c", sql],
                              capture_output=True, text=True, check=True)
        return [line.split("\t") for line in done.stdout.splitlines() if line]


class Steady:
    """Threads that send to a Pug over the connections given, one each, until the block ends."""

    def __init__(self, p, conns):
        self.p, self.stop_now, self.calls, self.failures = p, threading.Event(), 0, []
        self.threads = [threading.Thread(target=self.run, args=(c,), daemon=True) for c in conns]

    def run(self, conn):
        while not self.stop_now.is_set():
            try:
                answer = self.p.call(BATCH, {"events": []}, key=self.p.info["private_key"], conn=conn)
                if answer[0] != 200:
                    self.failures.append(answer)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                return
            self.calls += 1
            time.sleep(0.002)

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop_now.set()
        for t in self.threads:
            t.join(60)


def main(tests, argv=None, expects=()):
    """Runs functions named test_*(variant) and prints what run.py wants. Errors in a server's log that match one
    of `expects` are meant to be there."""
    import argparse
    import traceback
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="test")
    parser.add_argument("--only", default="")
    args = parser.parse_args(argv)
    passed = failed = 0
    EXPECTED.extend(expects)
    for name, fn in tests:
        if args.only and args.only not in name:
            continue
        start = time.monotonic()
        try:
            fn(args.variant)
            passed += 1
            print(f"ok   {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Exception:
            failed += 1
            print(f"FAIL {name}\n{traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
