"""A running master with the fake worker of fake_main.c, in a private folder."""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
BIN = {}  # name of a binary of build_fake.sh -> path, filled by main()
LINE = re.compile(r"^(\S+)Z ")


class Master:
    def __init__(self, binary, options=(), words="", env=None, launcher=(), pass_fds=(), notify=True,
                 start=True, owner=None):
        self.folder = tempfile.mkdtemp(prefix="pugm-")
        self.binary = self.path("pugd")
        self.install(binary)
        self.words_file = self.path("words")
        self.set_words(words)
        with open(self.path("key"), "wb") as f:
            f.write(os.urandom(48))
        os.chmod(self.path("key"), 0o600)
        self.config = self.path("pugd.conf")
        self.settings = {
            "listen": "127.0.0.1:0", "admin_listen": "unix:" + self.path("admin"), "user": '""',
            "credential_file": self.path("key"), "workers": "2", "hang_timeout": "1s",
            "start_timeout": "3s", "drain_timeout": "2s",
        }
        self.settings.update(dict(options))
        self.write_config()
        self.notes = []
        self.notify = None
        self.env = {k: v for k, v in os.environ.items()
                    if k not in ("NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "PUGD_CONFIG")}
        self.env["PUGD_TEST_FAKE_FILE"] = self.words_file
        if notify:
            self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.notify.bind(self.path("notify"))
            self.env["NOTIFY_SOCKET"] = self.path("notify")
        self.env.update(env or {})
        if owner is not None:
            os.chown(self.folder, owner, -1)
            for name in os.listdir(self.folder):
                os.chown(self.path(name), owner, -1)
        self.log_file = open(self.path("log"), "w+b")
        self.process = subprocess.Popen(
            [*launcher, self.binary, "run", "--config", self.config], stderr=self.log_file,
            stdout=self.log_file, stdin=subprocess.DEVNULL, env=self.env, pass_fds=pass_fds)
        if start:
            self.wait_log("generation serves")

    def path(self, name):
        return os.path.join(self.folder, name)

    def install(self, binary):
        """Replaces the installed binary the way packages do: by rename."""
        shutil.copy2(binary, self.path("new"))
        os.rename(self.path("new"), self.binary)

    def set_words(self, words):
        with open(self.words_file + ".new", "w", encoding="ascii") as f:
            f.write(words)
        os.rename(self.words_file + ".new", self.words_file)

    def write_config(self, extra=""):
        with open(self.config, "w", encoding="ascii") as f:
            for key, value in self.settings.items():
                f.write(f"{key} = {value}\n")
            f.write(extra)

    def log(self):
        with open(self.path("log"), encoding="utf-8", errors="replace") as f:
            return f.read()

    def wait(self, what, check, seconds=15):
        end = time.monotonic() + seconds
        while True:
            value = check()
            if value:
                return value
            if time.monotonic() > end:
                raise AssertionError(f"no {what} within {seconds} s; the log:\n{self.log()}")
            time.sleep(0.005)

    def wait_log(self, pattern, count=1, seconds=15):
        """The count-th line that matches."""
        found = self.wait(f"log line {pattern!r}", lambda: (
            lambda lines: lines if len(lines) >= count else None)(self.grep(pattern)), seconds)
        return found[count - 1]

    def grep(self, pattern):
        return [line for line in self.log().splitlines() if re.search(pattern, line)]

    def hup(self):
        self.process.send_signal(signal.SIGHUP)

    def reload(self, outcome="completed"):
        """A whole reload including the drain; the status afterwards."""
        before = self.status()[outcome]
        self.hup()
        return self.wait(f"reload {outcome}", lambda: (
            lambda s: s if s[outcome] == before + 1 and s["state"] == "serving" else None)(
                self.status()))

    def ask(self, request, headers="", tail="\r\n\r\n"):
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(10)
            for _ in range(200):
                try:
                    s.connect(self.path("admin"))
                    break
                except (ConnectionRefusedError, BlockingIOError):
                    time.sleep(0.005)
            s.sendall((request + " HTTP/1.1\r\nHost: x" + headers + tail).encode())
            data = b""
            while piece := s.recv(65536):
                data += piece
        return data.decode()

    def status(self):
        # It may not be there yet; an exec of the master resets nobody.
        for _ in range(50):
            try:
                head, _, body = self.ask("GET /status.json").partition("\r\n\r\n")
                if head.startswith("HTTP/1.1 200") and body:
                    return json.loads(body)
            except (ConnectionRefusedError, FileNotFoundError):
                pass
            time.sleep(0.01)
        raise AssertionError("no status page; the log:\n" + self.log())

    def workers(self, role="worker", state="ready"):
        return [w for w in self.status()["workers"] if w["role"] == role and w["state"] == state]

    def address(self):
        line = self.wait_log("listening addr=")
        host, _, port = line.rsplit("addr=", 1)[1].strip().rpartition(":")
        return host, int(port)

    def get(self):
        """One request; the answering worker's pid."""
        with socket.create_connection(self.address(), timeout=5) as s:
            s.sendall(b"GET / HTTP/1.1\r\n\r\n")
            text = b""
            while piece := s.recv(4096):
                text += piece
        return int(re.search(rb"X-Pid: (\d+)", text).group(1))

    def get_pids(self, n):
        return {self.get() for _ in range(n)}

    def notes_now(self):
        self.notify.setblocking(False)
        try:
            while True:
                self.notes.append(self.notify.recv(4096).decode())
        except BlockingIOError:
            return self.notes

    def wait_note(self, text):
        return self.wait(f"notification {text!r}",
                         lambda: [n for n in self.notes_now() if text in n])

    def fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def stop(self, how=signal.SIGTERM, seconds=15):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(seconds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log_file.close()
        if self.notify:
            self.notify.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def log_time(line):
    """The time of a log line as time.time() would have said it."""
    from datetime import datetime, timezone
    return datetime.fromisoformat(LINE.match(line).group(1)).replace(tzinfo=timezone.utc).timestamp()


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def run(*words, **kw):
    return subprocess.run([BIN["pugd"], *words], capture_output=True, text=True, timeout=30, **kw)


def is_sanitized():
    return BIN["variant"] == "asan"


def find_binaries(args, folder):
    BIN["variant"] = args.variant
    flags = ["-fsanitize=address,undefined"] if is_sanitized() else []
    if not (args.binary and args.other and args.future):
        subprocess.run([os.path.join(HERE, "build_fake.sh"), folder, *flags], check=True)
    for name, given in (("pugd", args.binary), ("pugd-other", args.other),
                        ("pugd-future", args.future)):
        BIN[name] = os.path.abspath(given) if given else os.path.join(folder, name)


def run_one(name, test):
    start = time.monotonic()
    try:
        test()
    except Exception as e:  # a failing test must not hide the others
        print(f"FAIL {name}: {type(e).__name__}: {e}", flush=True)
        return False
    print(f"ok   {name} ({time.monotonic() - start:.1f} s)", flush=True)
    return True


def main(names):
    """Runs the test_ functions among a module's names; the exit code."""
    parser = argparse.ArgumentParser()
    for option in ("--variant", "--binary", "--other", "--future"):
        parser.add_argument(option)
    parser.add_argument("names", nargs="*")
    args = parser.parse_args()
    tests = [(n, t) for n, t in names.items()
             if n.startswith("test_") and (not args.names or n in args.names)]
    with tempfile.TemporaryDirectory(prefix="pugm-bin-") as folder:
        find_binaries(args, folder)
        results = [run_one(name, test) for name, test in tests]
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return 0 if all(results) else 1
