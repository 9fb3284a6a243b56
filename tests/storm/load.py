"""A steady load of BatchCreate that knows what was acknowledged.

Every thread owns one keep-alive connection and sends small batches with ids it
remembers. `retry=False` counts every failed first attempt; `retry=True` repeats
with the same ids when the connection failed, as SDKs do; an answer is never asked
for again, unless its status is among `also`.
"""
import datetime
import http.client
import json
import random
import threading
import time
import uuid

PATH = "/events.v1.EventsService/BatchCreate"


class Load:
    def __init__(self, host, port, key, threads=4, gap=(0.0, 0.02), retry=False, also=(), batch=3):
        self.host, self.port, self.key = host, port, key
        self.gaps, self.retry, self.also, self.batch = gap, retry, also, batch
        self.stop_now = threading.Event()
        self.lock = threading.Lock()
        self.acked, self.failures, self.latencies = set(), [], []
        self.created = self.calls = self.retried = 0
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True)
                        for i in range(threads)]

    def __enter__(self):
        for t in self.threads:
            t.start()
        return self

    def __exit__(self, *_):
        self.finish()

    def finish(self):
        self.stop_now.set()
        for t in self.threads:
            t.join(60)

    def gap_of(self, number):
        """A list of gaps goes round the connections."""
        gaps = self.gaps if isinstance(self.gaps, list) else [self.gaps]
        return gaps[number % len(gaps)]

    def run(self, number):
        rng = random.Random(number)
        conn = None
        while not self.stop_now.is_set():
            now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            ids = [str(uuid.uuid4()) for _ in range(self.batch)]
            body = json.dumps({"events": [
                {"eventId": i, "kind": "storm", "distinctId": f"u{rng.randrange(50)}",
                 "occurTime": now, "sessionId": str(uuid.UUID(int=number + 1))} for i in ids]})
            conn = self.send(conn, body, ids)
            self.stop_now.wait(rng.uniform(*self.gap_of(number)))
        if conn:
            conn.close()

    def send(self, conn, body, ids):
        end = time.monotonic() + 60
        attempt = 0
        while True:
            start = time.monotonic()
            problem = None
            try:
                fresh = conn is None
                if fresh:
                    conn = http.client.HTTPConnection(self.host, self.port, timeout=30)
                conn.request("POST", PATH, body, {"content-type": "application/json",
                                                  "x-api-key": self.key})
                answer = conn.getresponse()
                text = answer.read()
                if answer.status == 200:
                    with self.lock:
                        self.acked.update(ids)
                        self.calls += 1
                        self.created += json.loads(text).get("eventsCreated", 0)
                        self.latencies.append(time.monotonic() - start)
                    if (answer.getheader("connection") or "").lower() == "close":
                        conn.close()
                        conn = None
                    return conn
                problem = f"{answer.status} {text[:200]!r}"
                transient = answer.status in self.also
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error} (fresh={fresh})"
                transient = True
            if conn:
                conn.close()
            conn = None
            attempt += 1
            with self.lock:
                if self.retry and transient:
                    self.retried += 1
                else:
                    self.failures.append(problem)
            if not self.retry or not transient or time.monotonic() > end:
                return None
            time.sleep(min(0.02 * attempt, 0.5))
