"""What ingestion and sign-ins feel of insights: the part "beside" of `make bench-insights`.

Events come in at 30 % of what the server takes, people sign in; then the same with 8 people
who look at dashboards of 12 tiles again and again, and with clients that ask every insight.
Idle and busy turns alternate; a p99 counts as the median over the turns.
"""
import http.client
import json
import statistics
import tempfile
import threading
import time

import insight_cases
import run as base

BOARDS = "/dashboards.v1.DashboardsService/"
CLIENTS, EVENTS, SIGNERS, SIGN_INS = 8, 10, 2, 10  # sign-ins: a second
VIEWERS, ASKERS = 8, 2
COMMITS = 4096  # waiting to be sealed, at most: every insight reads each of them (seal_commits)
SHARE, FACTOR, FLOOR_MS = 0.3, 3, 25
TILES = ["trend", "users", "breakdown", "revenue", "segmentation", "funnel", "retention", "flow", "paths", "map",
         "duration", "entry"]
# A worker's budget: worker_memory, insight_threads queries of insight_memory, and people_cache (options.def);
# and insight_cache, which all workers have together, but which counts for whoever has touched it.
BUDGET_MB = 80 + 2 * 256 + 64 + 256


class Load:
    """Threads that ask again and again, each on a connection of its own, until the block ends;
    once at least."""

    def __init__(self, p, n, asked):
        self.p, self.asked, self.stop_now = p, asked, threading.Event()
        self.took, self.failed, self.refused = [], [], 0
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(n)]

    def run(self, i):
        conn, more = self.p.connect(timeout=120), True
        while more:
            path, body, headers = self.asked[i % len(self.asked)]
            i += 1
            begin = time.perf_counter()
            try:
                conn.request("POST", path, body=body, headers={"content-type": "application/json", **headers})
                answer = conn.getresponse()
                text = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                return
            self.took.append(time.perf_counter() - begin)
            # over a budget: the server protects itself, which is not what is measured here
            self.refused += text.count(b"errorMessage") + (answer.status in (429, 504))
            if answer.status not in (200, 429, 504):
                self.failed.append(f"{path}: {answer.status} {text[:300]}")
                return
            more = not self.stop_now.is_set()

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.stop_now.set()
        for t in self.threads:
            t.join(120)


class Nothing(Load):
    def __init__(self):
        super().__init__(None, 0, [])


def board(data):
    """A call that renders a dashboard of 12 tiles over the whole window."""
    p, project = data.pug, data.pug.info["project_id"]
    token = p.sign_in()
    known = {c.name: c for c in insight_cases.cases(data.frame)}
    made = p.ok(BOARDS + "Create", {"displayName": "bench"}, token=token, project=project)["dashboard"]
    p.ok(BOARDS + "Upsert", {"id": made["id"], "displayName": "bench", "tiles": [
        {"displayName": known[name].title, "insight": {"spec": known[name].spec}} for name in TILES]},
         token=token, project=project)
    body = {"dashboardId": made["id"], "timeRange": data.frame.range, "granularity": "GRANULARITY_DAY"}
    return BOARDS + "QueryDashboard", json.dumps(body), {"authorization": "Bearer " + token, "x-project-id": project}


def every_insight(data):
    head = {"x-api-key": data.pug.info["private_key"]}
    return [(c.method, json.dumps(insight_cases.request(c, data.frame)), head)
            for c in insight_cases.cases(data.frame)]


def templates(data, folder):
    """Files for the load generator: a batch of events, and a sign-in."""
    info, now = data.pug.info, int(time.time() * 1000)
    events = [base.sample_event(i, now) for i in range(EVENTS)]
    body = b"".join(base.field(1, base.proto_event(e)) for e in events)
    batch = base.request("POST", base.BATCH, body, x_api_key=info["private_key"], content_type="application/proto")
    who = json.dumps({"email": info["email"], "password": info["password"]}).encode()
    sign_in = base.request("POST", "/auth.v1.AuthService/SignIn", who, content_type="application/json")
    return (base.template(folder, "batch", batch, [e["event_id"] for e in events]),
            base.template(folder, "signin", sign_in, []))


class Turns:
    def __init__(self, data, folder, millis):
        self.p, self.db, self.millis, self.waiting = data.pug, data.db, millis, 0
        self.target = f"{data.pug.host}:{data.pug.port}"
        self.batch, self.sign_in = templates(data, folder)
        most = base.load("http", self.target, CLIENTS, millis, self.batch)
        self.rate = SHARE * most["requests"] / most["seconds"]

    def turn(self, load):
        """p99 in ms of a batch and of a sign-in, meanwhile."""
        out = {}

        def run(name, *how):
            out[name] = base.load("http", self.target, *how)
        with load:
            threads = [threading.Thread(target=run, args=("batch", CLIENTS, self.millis, self.batch, str(self.rate))),
                       threading.Thread(target=run, args=("sign_in", SIGNERS, self.millis, self.sign_in, str(SIGN_INS)))]
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        if load.failed or len(out) != 2:
            raise RuntimeError(f"beside: {load.failed[:3]} {out}")
        return {name: got["p99_us"] / 1000 for name, got in out.items()}


def peak_mb(p):
    """The most memory that any worker had resident."""
    most = 0
    for w in p.admin()["workers"]:
        if w["role"] == "worker" and w["state"] == "ready":
            with open(f"/proc/{w['pid']}/status", encoding="ascii") as f:
                most = max(most, *(int(line.split()[1]) for line in f if line.startswith("VmHWM")))
    return most / 1024


def pairs(turns, n, make, what, say):
    """[(idle, busy)], and how often and how long the load asked."""
    got, took, refused = [], [], 0
    for i in range(n):
        say(f"beside: {what}, pair {i + 1} of {n}")
        idle = turns.turn(Nothing())
        load = make()
        got.append((idle, turns.turn(load)))
        turns.waiting = max(turns.waiting, int(turns.db.one("SELECT count(*) FROM pugd.inbox")))
        took += load.took
        refused += load.refused
    return got, took, refused


def judge(got, took, refused, what, asked):
    """Prints the pairs; the thresholds they are held against."""
    rows = [(f"   refused beside {what}", refused, "", "<= 0", refused == 0)]
    print(f"\n{what}: p99, ms, idle and busy by turns ({len(took)} {asked}, median {statistics.median(took) * 1000:.0f} ms)")
    for name, title in (("batch", "BatchCreate"), ("sign_in", "SignIn")):
        idle, busy = (statistics.median(side[name] for side in sides) for sides in zip(*got))
        limit = max(FACTOR * idle, FLOOR_MS)
        rows.append((f"   {title} beside {what}", busy, "ms", f"< {limit:.1f}", busy < limit))
        print(f"{title:14} idle {idle:7.1f}  busy {busy:7.1f}   " +
              "  ".join(f"{a[name]:.1f}/{b[name]:.1f}" for a, b in got))
    return rows


def run(data, quick, say):
    """[(what, value, unit, limit, whether it is met)]"""
    n, millis = (2, 1000) if quick else (5, 4000)
    data.restart()
    data.db.query("CHECKPOINT")
    with tempfile.TemporaryDirectory(prefix="pugb-") as folder:
        say("beside: how much the server takes")
        turns = Turns(data, folder, 1500)
        turns.millis = millis
        call, asked = board(data), every_insight(data)
        for path, body, head in [call, *asked]:  # warm
            with Load(data.pug, 1, [(path, body, head)]) as once:
                once.stop_now.set()
        rest = peak_mb(data.pug)
        boards = pairs(turns, n, lambda: Load(data.pug, VIEWERS, [call]), "dashboards", say)
        insights = pairs(turns, n, lambda: Load(data.pug, ASKERS, asked), "insights", say)
    say("")
    print(f"\nbatches of {EVENTS} events at {turns.rate:,.0f} calls/s by {CLIENTS} clients, {SIGN_INS} sign-ins a second")
    rows = judge(*boards, f"{VIEWERS} dashboards", "renderings") + judge(*insights, f"{ASKERS} askers", "insights")
    most = peak_mb(data.pug)
    print(f"\na worker's memory: at most {most:.0f} MB resident (after one render and every insight once {rest:.0f})")
    return rows + [("   memory of a worker, peak", most, "MB", f"<= {BUDGET_MB}", most <= BUDGET_MB),
                   ("   commits that wait, after a busy turn", turns.waiting, "", f"<= {COMMITS}", turns.waiting <= COMMITS)]
