#!/usr/bin/env python3
"""The master process with a fake worker: start, death, hang, reload, roll-back, stop.

usage: test_master.py [--variant V | --binary PATH --other PATH --future PATH] [NAME...]
Without binaries they are built (build_fake.sh).
"""
import contextlib
import errno
import os
import pwd
import random
import re
import signal
import socket
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake import BIN, Master, expect, is_sanitized, log_time, main, run  # noqa: E402


# ---- start ---------------------------------------------------------------------

def test_start_and_status():
    with Master(BIN["pugd"]) as m:
        s = m.status()
        expect(s["generation"] == 1 and s["completed"] == 0 and s["rejected"] == 0, s)
        expect(s["pid"] == m.process.pid and s["state"] == "serving", s)
        expect(len(m.workers()) == 2 and len(m.workers("keeper")) == 1, s["workers"])
        expect(m.get() in [w["pid"] for w in m.workers()], "answered by a worker")
        expect(m.status()["methods"][0]["name"] == "/fake.v1.Fake/Answer", "method name")
        expect(m.wait_note("READY=1")[0] == "READY=1\nSTATUS=generation 1, 2 workers", m.notes)
        page = run("status", "--config", m.config)
        expect(page.returncode == 0 and "/fake.v1.Fake/Answer" in page.stdout, page)
        expect("2 workers" in page.stdout and "1 completed" not in page.stdout, page.stdout)
        metrics = m.ask("GET /metrics")
        expect('pugd_calls_total{method="/fake.v1.Fake/Answer",code="ok"} 1' in metrics, metrics)
        expect(metrics.endswith("# EOF\n"), "end of the metrics page")


def test_child_environment():
    with Master(BIN["pugd"], env={"SECRET_OF_SHELL": "x", "PGOPTIONS": "-c a=b"}) as m:
        with open(f"/proc/{m.workers()[0]['pid']}/environ", "rb") as f:
            env = f.read()
        for absent in (b"SECRET_OF_SHELL", b"NOTIFY_SOCKET"):
            expect(absent not in env, env)
        expect(b"PGOPTIONS=-c a=b" in env and b"PUGD_GENERATION=1" in env, env)
        fds = sorted(map(int, os.listdir(f"/proc/{m.workers()[0]['pid']}/fd")))
        expect(fds == [0, 1, 2, 3, 4, 5, 6, 7], fds)


def refuses(path):
    with socket.socket(socket.AF_UNIX) as s:
        return s.connect_ex(path) == errno.ECONNREFUSED


def test_listen_addresses():
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o777)  # the master may have left root when it binds again
        path = os.path.join(folder, "http")
        with Master(BIN["pugd"], options={"listen": "127.0.0.1:0 [::1]:0 unix:" + path},
                    start=False) as m:
            m.wait("answer", lambda: m.grep("generation serves|cannot listen"))
            if not m.grep("generation serves"):
                expect("[::1]" in m.log(), m.log())  # a machine without IPv6
                return
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)
                s.sendall(b"GET / HTTP/1.1\r\n\r\n")
                expect(s.recv(100).startswith(b"HTTP/1.1 200"), "unix socket")
            m.stop(signal.SIGKILL)
            expect(os.path.exists(path), "killed: the file stays")
            m.wait("end of its children, who listen as well", lambda: refuses(path))
            with Master(BIN["pugd"], options={"listen": "unix:" + path}) as again:
                again.wait_log("generation serves")
                expect(again.stop() == 0 and not os.path.exists(path), "removed at a clean end")


def test_socket_activation():
    with socket.create_server(("127.0.0.1", 0)) as s:
        shell = ["sh", "-c", f'exec 3<&{s.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"', "sh"]
        with Master(BIN["pugd"], launcher=shell, pass_fds=(s.fileno(),)) as m:
            expect(m.address()[1] == s.getsockname()[1], "serves the passed socket")
            m.get()
            m.reload()
            m.get()
            # LISTEN_FDS must not survive an exec, or the next image would bind again.
            with open(f"/proc/{m.process.pid}/environ", "rb") as f:
                expect(b"LISTEN_FDS" not in f.read(), "consumed")


def test_privilege_drop():
    if os.geteuid() != 0:
        with Master(BIN["pugd"], options={"user": "no-such-user"}) as m:
            expect(m.get(), "who is not root stays who he is")
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    with Master(BIN["pugd"], options={"user": "nobody"}, start=False) as m:
        expect(m.process.wait(20) == 78, "what only root can read would stop the next reload")
        expect(m.grep("Permission denied"), m.log())
    with Master(BIN["pugd"], options={"user": "nobody"}, owner=nobody) as m:
        for pid in [m.process.pid, *(w["pid"] for w in m.workers())]:
            expect(os.stat(f"/proc/{pid}").st_uid in (nobody, 0), "proc")
            with open(f"/proc/{pid}/status", encoding="ascii") as f:
                text = f.read()
            expect(re.search(rf"^Uid:\t{nobody}\t{nobody}\t{nobody}", text, re.M), text)
            expect(re.search(r"^Groups:\s*$", text, re.M), text)
        m.reload()
        m.get()
    with Master(BIN["pugd"], options={"user": "no-such-user"}, start=False) as m:
        expect(m.process.wait(20) == 78 and m.grep("user does not exist"), m.log())
    with Master(BIN["pugd"], options={"user": "no-such-user", "dev": "yes"}) as m:
        expect(m.grep("warn.*user does not exist"), m.log())


def test_boot_failures():
    with Master(BIN["pugd"], words="die", start=False) as m:
        expect(m.process.wait(20) == 78, "every worker dies: 78")
        expect(m.grep("cannot start, giving up why=\"a child died three times"), m.log())
    with Master(BIN["pugd"], words="refuse", start=False) as m:
        expect(m.process.wait(20) == 78, "every worker refuses: 78")
    with Master(BIN["pugd"], words="mute", options={"start_timeout": "500ms"}, start=False) as m:
        expect(m.process.wait(20) == 78, "nobody becomes ready: 78")
    with Master(BIN["pugd"], options={"workers": "99", "nonsense": "1", "drain_timeout": "10"},
                start=False) as m:
        expect(m.process.wait(20) == 78, "bad configuration: 78")
        for what in ("workers: 99 is outside", "nonsense: unknown option",
                     "drain_timeout: '10' is not a duration"):
            expect(m.grep("pugd.conf:[0-9]+: " + what), m.log())


# ---- death -----------------------------------------------------------------------

def test_obituary_and_quarantine():
    with Master(BIN["pugd"]) as m:
        victim = m.workers()[0]
        os.kill(victim["pid"], signal.SIGUSR2)
        line = m.wait_log("worker died")
        for part in (f"slot={victim['slot']} pid={victim['pid']} generation=1", "signal=6 name=SIGABRT",
                     "step=handle", 'method="/fake.v1.Fake/Crash"', 'call="call-0001"',
                     'panic="must: .fake..line two"'):
            expect(part in line, part + " missing in " + line)
        m.wait("respawn", lambda: len(m.workers()) == 2)
        expect(not m.status()["quarantine"], "one death is no pattern")
        os.kill(m.workers()[0]["pid"], signal.SIGUSR2)
        m.wait_log("call quarantined")
        row = m.status()["quarantine"][0]
        expect(row["deaths"] == 2 and row["remaining_ms"] > 500000, row)
        expect(m.status()["counters"]["panics"] == 2 and m.status()["deaths"] == 2, m.status())
        expect("403" in m.ask("POST /quarantine/clear").split("\r\n")[0], "needs its header")
        expect("403" in m.ask("GET /status.json", "\r\nOrigin: http://evil").split("\r\n")[0], "CSRF")
        answer = run("quarantine", "clear", "--config", m.config)
        expect(answer.stdout == "cleared\n" and not m.status()["quarantine"], answer)


def test_respawn_is_fast():
    times = []
    with Master(BIN["pugd"]) as m:
        for i in range(15):
            victim = m.wait("two workers", lambda: len(w := m.workers()) == 2 and w)[i % 2]
            ready = len(m.grep("worker ready"))
            time.sleep(0.12)
            at = time.time()
            os.kill(victim["pid"], signal.SIGKILL)
            line = m.wait_log("worker ready", ready + 1)
            times.append(log_time(line) - at)
        expect(m.status()["deaths"] == 15, "every kill counted")
        expect(not m.status()["quarantine"], "kill -9 from outside blames no call")
        expect(m.grep("crash budget exceeded"), "more than ten a minute is told")
    median = statistics.median(times)
    print(f"  kill -9 to READY: median {median * 1000:.1f} ms, worst {max(times) * 1000:.1f} ms")
    expect(median < (0.5 if is_sanitized() else 0.05), times)


def test_backoff():
    with Master(BIN["pugd"], options={"workers": "1"}) as m:
        m.set_words("die")
        os.kill(m.workers()[0]["pid"], signal.SIGUSR2)
        waits = [int(re.search(r"ms=(\d+)", m.wait_log("worker waits", n + 1)).group(1))
                 for n in range(3)]
        for wait, wanted in zip(waits, (100, 200, 400)):
            expect(wanted * 0.79 <= wait <= wanted * 1.21, waits)
        m.set_words("")
        m.wait("recovery", lambda: len(m.workers()) == 1)
        m.get()


def test_who_cannot_run_now_is_tried_again():
    with Master(BIN["pugd"]) as m:
        m.set_words("refuse")  # a file is missing, say, that was there when they came up
        for w in m.workers():
            os.kill(w["pid"], signal.SIGKILL)
        m.wait("several tries", lambda: len(m.grep("worker died .*exit=78")) >= 4)
        expect(not m.workers() and m.process.poll() is None, "nobody serves, but the master lives")
        m.set_words("")
        m.wait("two workers", lambda: len(m.workers()) == 2)
        m.get()


def test_started_with_sigchld_ignored():
    ignores = ("import os, signal, sys\n"
               "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
               "os.execv(sys.argv[1], sys.argv[1:])")
    with Master(BIN["pugd"], launcher=[sys.executable, "-c", ignores]) as m:
        victim = m.workers()[0]["pid"]
        os.kill(victim, signal.SIGKILL)
        m.wait_log(f"worker died .*pid={victim} ")
        m.wait("two workers", lambda: len(m.workers()) == 2)
        m.reload()


def test_keeper_and_clean_exit_are_respawned():
    with Master(BIN["pugd"]) as m:
        keeper = m.workers("keeper")[0]["pid"]
        os.kill(keeper, signal.SIGKILL)
        m.wait("new keeper", lambda: [w for w in m.workers("keeper") if w["pid"] != keeper])
        worker = m.workers()[0]["pid"]
        os.kill(worker, signal.SIGTERM)
        m.wait_log(f"worker left slot=[0-9]+ pid={worker}")
        m.wait("new worker", lambda: len(m.workers()) == 2)


def test_hang():
    with Master(BIN["pugd"], options={"hang_timeout": "500ms"}) as m:
        for sig, name in ((signal.SIGUSR1, "SIGABRT"), (signal.SIGSTOP, "SIGKILL")):
            victim = m.wait("two workers", lambda: len(w := m.workers()) == 2 and w)[0]["pid"]
            os.kill(victim, sig)
            at = time.monotonic()
            line = m.wait_log(f"worker died .*pid={victim} ")
            expect(f"name={name}" in line and "hung=1" in line, line)
            expect(time.monotonic() - at < (2.5 if sig == signal.SIGSTOP else 1.5), "in time")
        m.wait("two workers", lambda: len(m.workers()) == 2)


def test_master_killed():
    with Master(BIN["pugd"]) as m:
        pids = [w["pid"] for w in m.status()["workers"]]
        m.stop(signal.SIGKILL)

        def gone():
            for pid in pids:
                try:
                    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
                        if f.read().rsplit(")", 1)[1].split()[0] != "Z":
                            return False
                except OSError:
                    pass
            return True
        m.wait("end of the workers", gone, 2)


# ---- reload ----------------------------------------------------------------------

def test_reload_twenty_times():
    with Master(BIN["pugd"]) as m:
        m.reload()
        fds, failed, asked = m.fds(), 0, 0
        for _ in range(20):
            before = m.status()["completed"]
            m.hup()
            while m.status()["completed"] == before or m.status()["state"] != "serving":
                asked += 1
                try:
                    m.get()
                except (OSError, AttributeError):
                    failed += 1
        s = m.status()
        expect(s["completed"] == 21 and s["generation"] == 22 and s["pid"] == m.process.pid, s)
        expect(failed == 0 and asked > 20, f"{failed} of {asked} failed")
        m.wait("descriptors", lambda: m.fds() <= fds, 3)
        expect({w["generation"] for w in s["workers"]} == {22}, s["workers"])
        expect(s["methods"][0]["calls"] == asked, "statistics survive reloads")


def test_reload_answers_who_has_connected():
    """To the admin socket: an exec resets nobody, though requests come a little later."""
    with Master(BIN["pugd"]) as m, contextlib.ExitStack() as stack:
        stop, wrong, asked = threading.Event(), [], []

        def ask():
            while not stop.is_set():
                with socket.socket(socket.AF_UNIX) as s:
                    s.settimeout(10)
                    try:
                        s.connect(m.path("admin"))
                        time.sleep(0.005)
                        s.sendall(b"GET /status.json HTTP/1.1\r\nHost: x\r\n\r\n")
                        asked.append(s.recv(12))
                        while s.recv(65536):
                            pass
                    except OSError as e:
                        wrong.append(e)
        threads = [threading.Thread(target=ask) for _ in range(3)]
        for t in threads:
            t.start()
            stack.callback(t.join)
        stack.callback(stop.set)
        for _ in range(4):
            m.reload()
        stop.set()
        expect(not wrong and set(asked) == {b"HTTP/1.1 200"}, f"{wrong[:3]} of {len(asked)}")


def test_rejected_configuration():
    with Master(BIN["pugd"]) as m:
        pids = [w["pid"] for w in m.workers()]
        m.write_config("workers = many\n")
        m.reload("rejected")
        s = m.status()
        expect(re.search(r"pugd.conf:\d+: workers: given twice", s["last_error"]), s)
        expect([w["pid"] for w in m.workers()] == pids and s["generation"] == 1, s)
        m.wait_note("READY=1\nSTATUS=reload failed: ")
        m.write_config()
        m.settings["workers"] = "3"
        m.write_config()
        m.settings["backlog"] = "99"
        m.write_config()
        s = m.reload()
        expect(len(m.workers()) == 3 and s["last_error"] == "", s)
        expect(m.grep("option counts only after a restart key=backlog"), m.log())


def test_rejected_binary():
    with Master(BIN["pugd"]) as m:
        os.rename(m.binary, m.path("away"))
        m.reload("rejected")
        with open(m.path("new"), "w", encoding="ascii") as f:
            f.write("not a program\n")
        os.chmod(m.path("new"), 0o755)
        os.rename(m.path("new"), m.binary)
        m.reload("rejected")
        # One that passes its check and cannot be executed afterwards.
        with open(m.path("new"), "w", encoding="ascii") as f:
            f.write(f"#!/bin/sh\n{BIN['pugd']} \"$@\"\nrm -f {m.binary}\n")
        os.chmod(m.path("new"), 0o755)
        os.rename(m.path("new"), m.binary)
        m.reload("rejected")
        expect("cannot exec" in m.status()["last_error"], m.status())
        m.get()
        m.install(BIN["pugd"])
        m.reload()


def test_roll_back():
    with Master(BIN["pugd"], options={"start_timeout": "800ms"}) as m:
        pids = [w["pid"] for w in m.workers()]
        for words, why in (("die", "died three times"), ("refuse", "cannot run"),
                           ("mute", "not ready within")):
            m.set_words(words)
            s = m.reload("rejected")
            expect(why in s["last_error"] and s["generation"] == 1, s)
            expect([w["pid"] for w in m.workers()] == pids, "the old workers serve on")
            m.get()
        m.set_words("")
        expect(m.reload()["generation"] == 5, "numbers are not used twice")


def limits(s):
    return {x["name"]: (x["rate"], x["burst"]) for x in s["limits"]}


def test_rejected_limits_are_not_shown():
    with Master(BIN["pugd"], options={"limit_key_rate": "123"}) as m:
        wanted = limits(m.status())
        expect(wanted["key"][0] == 123, wanted)
        m.settings["limit_key_rate"] = "456"
        m.write_config()
        m.set_words("die")
        expect(limits(m.reload("rejected")) == wanted, "of a generation that did not come up")
        m.install(BIN["pugd-future"])
        expect(limits(m.reload("rejected")) == wanted, "of an image that was called back")
        m.install(BIN["pugd"])
        m.set_words("")
        expect(limits(m.reload())["key"][0] == 456, "and those that serve are")


def test_much_said_by_the_check():
    with Master(BIN["pugd"]) as m:
        ours = m.status()["layout"]
        with open(m.path("chatty"), "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\n[ "$1" = check ] && head -c 100000 /dev/zero | tr "\\0" x\n'
                    f'exec {BIN["pugd-other"]} "$@"\n')
        os.chmod(m.path("chatty"), 0o755)
        os.rename(m.path("chatty"), m.binary)
        m.set_words("die")
        m.reload("rejected")
        m.wait("old image", lambda: m.status()["layout"] == ours)
        m.set_words("")
        m.install(BIN["pugd"])
        before = len(m.grep("new shared segment"))
        m.reload()
        expect(len(m.grep("new shared segment")) == before + 1, "its layout was seen, and the key cache retired")


def test_hup_is_remembered_once():
    with Master(BIN["pugd"]) as m:
        m.set_words("slow=300")
        m.hup()
        m.wait_log("generation starting generation=2")
        for _ in range(3):
            m.hup()
            time.sleep(0.02)
        m.wait("third generation", lambda: m.status()["completed"] == 2)
        time.sleep(0.5)
        expect(m.status()["completed"] == 2, m.status())


def test_death_during_reload():
    with Master(BIN["pugd"]) as m:
        m.set_words("slow=700")
        m.hup()
        m.wait_log("generation starting generation=2")
        for w in m.workers():
            os.kill(w["pid"], signal.SIGKILL)
        m.wait("old binary again", lambda: len(m.workers()) >= 1)
        m.wait("reload", lambda: m.status()["completed"] == 1 and m.status()["state"] == "serving")
        m.get()


def test_other_layout():
    with Master(BIN["pugd"]) as m:
        ours = m.status()["layout"]
        m.install(BIN["pugd-other"])
        s = m.reload()
        expect(s["layout"] != ours and m.grep("new shared segment"), s)
        os.kill(m.workers()[0]["pid"], signal.SIGKILL)
        m.wait("respawn", lambda: len(m.workers()) == 2)
        m.install(BIN["pugd"])
        expect(m.reload()["layout"] == ours, "and back")
        m.get()


def test_other_layout_rolled_back():
    with Master(BIN["pugd"]) as m:
        ours = m.status()["layout"]
        pids = [w["pid"] for w in m.workers()]
        m.install(BIN["pugd-other"])
        m.set_words("die")
        s = m.reload("rejected")
        m.set_words("")
        s = m.wait("old image", lambda: (lambda s: s["layout"] == ours and s)(m.status()))
        expect([w["pid"] for w in m.workers()] == pids and s["rejected"] == 1, s)
        os.kill(pids[0], signal.SIGUSR2)
        expect("call-0001" in m.wait_log(f"worker died .*pid={pids[0]} "), "its slot is read again")
        m.wait("respawn", lambda: len(m.workers()) == 2)
        m.install(BIN["pugd"])
        m.reload()
        expect(m.grep("new shared segment"), "the retired cache is left behind")
        m.get()


def test_new_binary_cannot_resume():
    with Master(BIN["pugd"]) as m:
        m.reload()
        pids, fds = [w["pid"] for w in m.workers()], m.fds()
        m.install(BIN["pugd-future"])
        for _ in range(3):
            s = m.reload("rejected")
        m.wait("descriptors", lambda: m.fds() <= fds, 3)
        expect("could not take over" in s["last_error"], s)
        expect([w["pid"] for w in m.workers()] == pids, "nobody was lost")
        m.get()
        m.install(BIN["pugd"])
        m.reload()


def storm_step(m, chance):
    """One random thing an operator, a package or a crash may do."""
    what = chance.random()
    if what < 0.25:
        m.install(BIN[chance.choice(("pugd", "pugd-other", "pugd-future"))])
    elif what < 0.4:
        m.set_words(chance.choice(("", "", "slow=100", "die", "stuck")))
    elif what < 0.5:
        m.write_config(chance.choice(("", "junk\n")))
    elif what < 0.85:
        m.hup()
    else:
        pids = [w["pid"] for w in m.status()["workers"] if w["pid"]]
        if pids:
            with contextlib.suppress(ProcessLookupError):  # it may just have ended
                os.kill(chance.choice(pids), chance.choice((9, 9, 12, 15)))
    time.sleep(chance.random() * 0.15)


def test_storm():
    seed = int(time.time())
    chance = random.Random(seed)
    failed, asked, stop = [], [0], threading.Event()
    with Master(BIN["pugd"]) as m:
        def load():
            while not stop.wait(0.004):
                asked[0] += 1
                try:
                    m.get()
                except (OSError, AttributeError) as e:
                    failed.append(repr(e))
        m.reload()
        fds = m.fds()
        client = threading.Thread(target=load)
        client.start()
        try:
            end = time.monotonic() + 8
            while time.monotonic() < end:
                storm_step(m, chance)
            m.set_words("")
            m.write_config()
            m.install(BIN["pugd"])
            time.sleep(0.5)
            m.wait("calm", lambda: (lambda s: s["state"] == "serving" and s["ready_workers"] == 2)(
                m.status()), 30)
            m.reload()
        finally:
            stop.set()
            client.join()
        expect(len(m.status()["workers"]) == 3, m.status())
        m.wait("descriptors", lambda: m.fds() <= fds, 5)
        # kill -9 takes the call it interrupts with it; nothing else may fail.
        expect(len(failed) <= 2, f"seed {seed}: {len(failed)} of {asked[0]}: {failed[:5]}")
        expect(m.stop() == 0, "clean end")


# ---- stop and notifications --------------------------------------------------------

def test_stop():
    with Master(BIN["pugd"]) as m:
        expect(m.stop() == 0, "drained: 0")
        expect(not os.path.exists(m.path("admin")), "admin socket removed")
    with Master(BIN["pugd"], words="stuck", options={"drain_timeout": "500ms"}) as m:
        at = time.monotonic()
        expect(m.stop() == 0 and 0.4 < time.monotonic() - at < 4, "bounded drain")
    with Master(BIN["pugd"], words="stuck", options={"drain_timeout": "30s"}) as m:
        m.process.send_signal(signal.SIGTERM)
        m.wait_log("stopping")
        expect(m.stop() == 0, "the second SIGTERM does not wait")
    with Master(BIN["pugd"], words="slow=400", start=False) as m:
        m.wait_log("generation starting")
        expect(m.stop(signal.SIGINT) == 0, "stop while starting")
    with Master(BIN["pugd"]) as m:
        m.set_words("slow=400")
        m.hup()
        m.wait_log("generation starting generation=2")
        expect(m.stop() == 0, "stop while reloading")


def test_notify_order():
    with Master(BIN["pugd"], env={"WATCHDOG_USEC": "200000"}) as m:
        m.wait_note("READY=1")
        m.notes.clear()
        before = time.monotonic() * 1e6
        m.reload()
        notes = [n for n in m.notes_now() if n != "WATCHDOG=1"]
        expect(re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", notes[0]), notes)
        expect(before - 1e3 < int(notes[0].rsplit("=", 1)[1]) < time.monotonic() * 1e6, notes)
        expect(notes[-1] == "READY=1\nSTATUS=generation 2, 2 workers", notes)
        expect(sum("READY=1" in n for n in notes) == 1, notes)
        m.notes.clear()
        time.sleep(1)
        count = m.notes_now().count("WATCHDOG=1")
        expect(8 <= count <= 14, f"{count} watchdog messages in a second")
        os.kill(m.process.pid, signal.SIGSTOP)
        time.sleep(0.3)
        m.notes_now()
        m.notes.clear()
        time.sleep(0.3)
        expect(not m.notes_now(), "a master that stands still feeds no watchdog")
        os.kill(m.process.pid, signal.SIGCONT)
        m.stop()
        expect([n for n in m.notes_now() if n != "WATCHDOG=1"] ==
               ["STOPPING=1\nSTATUS=finishing calls"], m.notes)


def test_standstill_blames_nobody():
    with Master(BIN["pugd"], options={"hang_timeout": "500ms"}) as m:
        pids = [m.process.pid] + [w["pid"] for w in m.status()["workers"]]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(2.2)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        time.sleep(0.6)
        expect(m.status()["deaths"] == 0, m.log())


if __name__ == "__main__":
    sys.exit(main(globals()))
