"""The data of `make bench-insights`: the same events in a private pugd, in a table of rows in
the same PostgreSQL, and in the memory of a plain C program; and one way to ask each."""
import http.client
import json
import os
import subprocess
import sys
import threading
import time

import ingest
import insight_cases
import pg
import pug

MAIN = os.path.join(pug.TOP, "build/test/bin/bench/insights_main")
OPTIONS = ["limit_scale=100000", "access_log=no"]
DAY_MS = 86400000
MARK = "bench.json"
IDLE_S = 30  # the server closes connections that are idle for 75 s, and SQL takes its time


def settings():
    """What one would set on a server of this size."""
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    cpus = str(os.cpu_count())
    return {"shared_buffers": f"{min(4096, ram // 6)}MB", "effective_cache_size": f"{ram // 2}MB",
            "work_mem": "256MB", "maintenance_work_mem": "512MB", "random_page_cost": "1.1",
            "max_parallel_workers_per_gather": cpus, "max_parallel_maintenance_workers": cpus,
            "max_wal_size": "8GB", "min_wal_size": "512MB", "checkpoint_timeout": "30min", "timezone": "UTC"}


class Meter:
    """How far something is: how much, how fast, how long still. Rewrites a line on a terminal,
    else prints one every ten seconds."""

    def __init__(self, what, total):
        self.what, self.total, self.begin, self.told = what, total, time.monotonic(), time.monotonic()
        self.tty = sys.stderr.isatty()

    def show(self, text, end):
        head = "\r\033[K" if self.tty else ""
        print(f"{head}{self.what}: {text}", end=end, file=sys.stderr, flush=True)

    def at(self, n):
        now = time.monotonic()
        if now - self.told < (0.3 if self.tty else 10) or not n:
            return
        self.told = now
        rate = n / (now - self.begin)
        self.show(f"{n:,} of {self.total:,}, {rate:,.0f}/s, {(self.total - n) / rate:.0f} s left",
                  "" if self.tty else "\n")

    def end(self):
        took = max(time.monotonic() - self.begin, 1e-9)
        self.show(f"{self.total:,} in {took:.1f} s, {self.total / took:,.0f}/s", "\n")


def follow(children, meter):
    """Adds up the "done N" lines of some processes until they end."""
    done = [0] * len(children)

    def read(i):
        for line in children[i].stderr:
            if line.startswith("done "):
                done[i] = int(line[5:])
                meter.at(sum(done))
            else:
                print(line, end="", file=sys.stderr)
    threads = [threading.Thread(target=read, args=(i,)) for i in range(len(children))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for c in children:
        if c.wait():
            raise RuntimeError(f"{c.args[:3]} failed")


class Refused(Exception):
    """pugd gave no answer: over a budget, mostly."""


class Data:
    """Loads, or finds what an earlier run has left in `folder`."""

    def __init__(self, events, persons, days, folder=None):
        mark = folder and os.path.join(folder, MARK)
        self.shape = {"events": events, "persons": persons, "days": days,
                      "start": (int(time.time()) // 86400 - days) * DAY_MS}
        self.found = bool(mark and os.path.exists(mark))
        if self.found:
            with open(mark, encoding="utf-8") as f:
                self.shape = json.load(f)
        self.mark = mark
        if folder:
            os.makedirs(folder, exist_ok=True)
        self.pug = pug.Pug("release", options=OPTIONS, data=folder)
        self.db = self.conn = self.child = None
        names = json.loads(subprocess.run([MAIN, "names"], capture_output=True, check=True).stdout)
        self.frame = insight_cases.Frame(names, self.shape["start"], self.shape["days"])

    def __enter__(self):
        try:
            self.start()
            if not self.found:
                self.load()
            self.child = subprocess.Popen(self.command("serve"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.sessions = json.loads(self.child.stdout.readline())["sessions"]
            return self
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_):
        if self.child:
            self.child.stdin.close()
            self.child.wait()
        self.stop()
        self.pug.clean()

    def command(self, how, *more):
        s = self.shape
        return [MAIN, how, *map(str, (s["events"], s["persons"], s["days"], s["start"], *more))]

    def tool(self, *args):
        """A command of pugd, at this database."""
        return [self.pug.binary, args[0], "--config", "/dev/null", "-o",
                "database_url=" + self.pug.info["database_url"], *args[1:]]

    # ---- the server

    def start(self):
        self.pug.start()
        self.db = pg.connect(self.pug.info["database_url"])
        self.conn, self.used = self.pug.connect(timeout=120), 0.0

    def stop(self):
        if self.db:
            self.db.close()
            self.conn.close()
            self.db = None
        self.pug.stop()

    def restart(self, cold=False):
        """cold: with none of the database's pages in memory."""
        self.stop()
        if cold:
            for folder, _, files in os.walk(os.path.realpath(os.path.join(self.pug.data, "postgres"))):
                for name in files:
                    self.forget(os.path.join(folder, name))
        self.start()

    @staticmethod
    def forget(path):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(fd)

    # ---- loading

    def load(self):
        for name, value in settings().items():
            self.db.query(f"ALTER SYSTEM SET {name} = '{value}'")
        self.restart()
        self.db.query(insight_cases.TABLES)
        self.load_people()
        self.load_events()
        self.load_rows()
        if self.mark:
            with open(self.mark, "w", encoding="utf-8") as f:
                json.dump(self.shape, f)

    def load_people(self):
        num = self.db.one("SELECT num FROM pugd.projects WHERE id = $1", self.pug.info["project_id"])
        meter = Meter("people", self.shape["persons"])
        subprocess.run(self.command("people", self.pug.info["database_url"], num), check=True)
        meter.end()

    def load_events(self):
        """Through `pugd import`, as many at once as there are CPUs; then sealed."""
        parts, meter = os.cpu_count(), Meter("pugd import", self.shape["events"])
        makers, takers = [], []
        for part in range(parts):
            makers.append(subprocess.Popen(self.command("json", part, parts), stdout=subprocess.PIPE,
                                           stderr=subprocess.PIPE, text=True))
            takers.append(subprocess.Popen(
                self.tool("import", "--project", self.pug.info["project_id"], "--format", "pug", "--restart", "-"),
                stdin=makers[-1].stdout, stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL))
            makers[-1].stdout.close()
        follow(makers, meter)
        stored = 0
        for taker in takers:
            out = taker.communicate()[0]
            if taker.returncode:
                raise RuntimeError(f"pugd import failed:\n{out}")
            stored += int(next(line.split()[1] for line in out.splitlines() if line.startswith("stored")))
        assert stored == self.shape["events"], stored
        meter.end()
        done = subprocess.run(self.tool("seal"), check=True, capture_output=True, text=True)
        print("pugd seal, what the keeper left: " + done.stdout, end="", file=sys.stderr)

    def load_rows(self):
        meter = Meter("rows", self.shape["events"])
        follow([subprocess.Popen(self.command("rows", self.pug.info["database_url"]), stderr=subprocess.PIPE,
                                 text=True)], meter)
        meter.end()
        meter = Meter("indexes", len(insight_cases.INDEXES))
        for i, sql in enumerate(insight_cases.INDEXES):
            self.db.query(sql)
            meter.at(i + 1)
        meter.end()
        self.db.query("VACUUM (ANALYZE)")
        self.db.query("CHECKPOINT")

    # ---- asking

    def ours(self, case):
        """(seconds, answer)"""
        body = json.dumps(insight_cases.request(case, self.frame)).encode()
        head = {"content-type": "application/json", "x-api-key": self.pug.info["private_key"]}
        if time.monotonic() - self.used > IDLE_S:
            self.conn.close()  # the next request connects, before its time counts
            self.conn.connect()
        begin = time.perf_counter()
        try:
            self.conn.request("POST", case.method, body=body, headers=head)
            answer = self.conn.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise RuntimeError(f"{case.name}: {error!r}") from error
        took = time.perf_counter() - begin
        self.used = time.monotonic()
        if answer.status != 200:
            error = json.loads(text)
            raise Refused(f"{error['code']}: {error['message']}")
        return took, json.loads(text)

    def bytes_read(self):
        return self.pug.admin()["counters"]["insight_bytes"]

    def sql(self, text):
        """(seconds, rows); fetching them into Python is not timed, as decoding ours is not."""
        pq, begin = self.db.pq, time.perf_counter()
        res = pq.PQexec(self.db.conn, text.encode())
        took = time.perf_counter() - begin
        self.db._check(res)
        width = range(pq.PQnfields(res))
        rows = [tuple(pq.PQgetvalue(res, i, j).decode() for j in width) for i in range(pq.PQntuples(res))]
        pq.PQclear(res)
        return took, rows

    def plain(self, name):
        """(seconds, rows, events matched, seconds of CPU)"""
        self.child.stdin.write(name + "\n")
        self.child.stdin.flush()
        got = json.loads(self.child.stdout.readline())
        return got["seconds"], got["rows"], got["matched"], got["cpu"]

    def cpu(self):
        """Seconds of CPU of pugd and PostgreSQL so far."""
        return sum(ingest.cpu(self.pug))

    def sizes(self):
        """Bytes of ours (claims not counted) and of the rows with their indexes."""
        return self.db.query(
            "SELECT sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname IN ('inbox', 'segment', 'segment_column'))::bigint, "
            "sum(pg_total_relation_size(c.oid)) FILTER (WHERE c.relname = 'bench_event')::bigint, "
            "(SELECT count(*) FROM pugd.segment) FROM pg_class c WHERE c.relkind = 'r'")[0]
