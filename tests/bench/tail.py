"""The sealing part of `make bench-ingest`: does the keeper keep up, and what does it cost?

    tail    at 70% of the rate just measured: how much waits unsealed, at most and at the end
    drain   how fast `pugd seal` works off what was ingested with sealing switched off
"""
import resource
import subprocess
import tempfile
import threading
import time

import pg
import pug
import run as base


def waiting(db):
    return int(db.one("SELECT coalesce(sum(stored), 0) FROM pugd.inbox"))


def tail(side, rate, seconds, progress):
    """Ingests `rate` events/s; {most, end: events that wait; p99_us, wal: bytes per event,
    sealing included; rate: as it came out}. On old WAL files, which a server has that runs for some
    time: new ones are filled with zeros first, twice the bytes to write."""
    got, samples = {}, []
    worker = threading.Thread(target=lambda: got.update(
        side.turn("pugd", 4, int(seconds * 1000), rate=max(1, round(rate / 1000)))))
    with pg.connect(side.p.info["database_url"]) as db:
        db.query("CHECKPOINT")
        start = side.wal()
        worker.start()
        began = time.monotonic()
        while worker.is_alive():
            samples.append(waiting(db))
            progress.note(f"70% for {seconds} s: {time.monotonic() - began:.0f} s, {samples[-1]:,} events wait")
            worker.join(1)
        end = waiting(db)
    return {"most": max(samples), "end": end, "p99_us": got["p99_us"], "rate": got["rate"],
            "wal": (side.wal() - start) / max(1, got["events"])}


def seal(p):
    """(seconds, of CPU) of one `pugd seal`."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([p.binary, "seal", "--config", "/dev/null", "-o", "database_url=" + p.info["database_url"]],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - start, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def drain(make_side, millis, progress):
    """A server of its own. {rate: events/s sealed, cpu_us, wal: per event, bytes: stored per
    event, claims not counted, events}"""
    options = ["limit_scale=100000", "access_log=no", "seal_events=100000000", "seal_commits=100000000", "seal_age=1d"]
    with pug.Pug("release", options=options) as p, tempfile.TemporaryDirectory() as folder, \
            pg.connect(p.info["database_url"]) as db:
        base_settings(db)
        side = make_side(p, db, p.info["private_key"], folder, 1000)
        progress.note("ingesting what is to be drained")
        side.turn("pugd", 4, millis)
        n, wal = waiting(db), side.wal()
        progress.note(f"sealing {n:,} events")
        seconds, cpu = seal(p)
        assert waiting(db) == 0, "pugd seal left something"
        size = int(db.one("SELECT pg_total_relation_size('pugd.segment') + pg_total_relation_size('pugd.segment_column')"))
        return {"rate": n / seconds, "cpu_us": cpu * 1e6 / n, "wal": (side.wal() - wal) / n, "bytes": size / n,
                "events": n}


def base_settings(db):
    """No checkpoint in a timed part, and nobody else at work."""
    for line in ("checkpoint_timeout = '1d'", "max_wal_size = '64GB'", "min_wal_size = '16GB'", "autovacuum = off"):
        db.query("ALTER SYSTEM SET " + line)
    db.query("SELECT pg_reload_conf()")
