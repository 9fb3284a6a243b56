"""What suites leave behind: processes and folders. tests/run.py watches with one Watch.

Other work may go on on the same machine, so only what is ours for certain counts: processes are ours
when their parents' end made them our children (PR_SET_CHILD_SUBREAPER), folders when they lie in the
run's own TMPDIR. Those that pugd makes elsewhere are compared with what was there before, and one
that a process outside this run uses is not ours.
"""
import ctypes
import glob
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time

PR_SET_CHILD_SUBREAPER = 36
ELSEWHERE = ("/tmp/pug*", "/var/lib/pugd-dev/*")
OTHER_RUNS = "/tmp/pugd-tests-"


def children():
    found = []
    for path in glob.glob("/proc/self/task/*/children"):
        with open(path, encoding="ascii") as f:
            found += map(int, f.read().split())
    return found


def describe(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f"process {pid}: " + f.read().replace(b"\0", b" ").decode("utf-8", "replace")[:300].strip()
    except OSError:
        return ""


def in_use(folder):
    """By a process that names it, or stands in it."""
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(path + "/cmdline", "rb") as f:
                text = f.read().decode("utf-8", "replace")
            if folder in text or os.readlink(path + "/cwd").startswith(folder):
                return True
        except OSError:
            pass
    return False


class Watch:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="pugd-tests-", dir="/tmp")
        os.chmod(self.folder, 0o1777)  # as /tmp: some suites have processes of other users
        self.suites = set()  # pids of children that somebody else waits for
        self.lock = threading.Lock()
        self.before = self.elsewhere()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.reap, daemon=True)
        self.thread.start()

    def elsewhere(self):
        return {path for pattern in ELSEWHERE for path in glob.glob(pattern) if not path.startswith(OTHER_RUNS)}

    def reap(self):
        """Orphans must not stay as zombies: init would not let them, and suites look."""
        while not self.over.wait(0.05):
            with self.lock:
                for pid in set(children()) - self.suites:
                    try:
                        os.waitpid(pid, os.WNOHANG)
                    except ChildProcessError:
                        pass

    def start(self, command, **kw):
        """A suite: a child that the caller waits for and takes out of `suites`."""
        with self.lock:
            child = subprocess.Popen(command, **kw)
            self.suites.add(child.pid)
        return child

    def left(self):
        new = [p for p in sorted(self.elsewhere() - self.before) if not in_use(p)]
        return [text for pid in children() if pid not in self.suites and (text := describe(pid))] + \
            [f"folder {p}" for p in sorted(glob.glob(self.folder + "/pug*")) + new]

    def finish(self, seconds=10):
        """Once all suites are over: what did not go away by itself, and ends it now."""
        end = time.monotonic() + seconds
        while (found := self.left()) and time.monotonic() < end:
            time.sleep(0.1)
        for pid in children():
            if pid not in self.suites:
                os.kill(pid, signal.SIGKILL)
        self.over.set()
        self.thread.join()
        shutil.rmtree(self.folder, ignore_errors=True)
        return found
