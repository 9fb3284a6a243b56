#!/usr/bin/env python3
"""The memory of cookieless visitors in the hands of the master: who has it, what survives what.

usage: as test_master.py
"""
import contextlib
import fcntl
import os
import signal
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fake import BIN, Master, expect, main  # noqa: E402

NAME, SIZE, SET = "pugd-visitors", 4096 + 16384 * 512, 4096
F_GET_SEALS, GROW_SHRINK_SEAL = 1034, 7


def memfds(pid):
    """{descriptor: identity} of the visitors' memfds of a process."""
    found = {}
    for n in os.listdir(f"/proc/{pid}/fd"):
        path = f"/proc/{pid}/fd/{n}"
        with contextlib.suppress(FileNotFoundError):
            if os.readlink(path).startswith("/memfd:" + NAME):
                st = os.stat(path)
                found[int(n)] = (st.st_dev, st.st_ino)
    return found


@contextlib.contextmanager
def visitors(m):
    (n, identity), = memfds(m.process.pid).items()
    fd = os.open(f"/proc/{m.process.pid}/fd/{n}", os.O_RDWR)
    try:
        yield fd, identity
    finally:
        os.close(fd)


def launch_with(*fds, names):
    """A launcher that passes descriptors, which are above 9, the way the service manager does."""
    moves = " ".join(f"{3 + i}<&{fd} {fd}<&-" for i, fd in enumerate(fds))
    return ["bash", "-c", f"exec {moves}; LISTEN_PID=$$ LISTEN_FDS={len(fds)} LISTEN_FDNAMES={names} "
            'exec "$@"', "sh"]


def high(fd):
    """The same descriptor out of the way of those that are passed."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(fd)
    return moved


def stored(m):
    """The descriptor that the master has the service manager keep."""
    text, fds, _, _ = socket.recv_fds(m.notify, 4096, 1)
    expect(text == f"FDSTORE=1\nFDNAME={NAME}".encode() and len(fds) == 1, (text, fds))
    return high(fds[0])


def test_who_has_it():
    with Master(BIN["pugd"]) as m:
        with visitors(m) as (fd, identity):
            expect(os.fstat(fd).st_size == SIZE, "size")
            expect(fcntl.fcntl(fd, F_GET_SEALS) & GROW_SHRINK_SEAL == GROW_SHRINK_SEAL, "seals")
            expect(os.pread(fd, 16, 0) == b"pugvisit" + struct.pack("<Q", 1), "magic and version")
            expect(os.pread(fd, SIZE, 24).strip(b"\0") == b"", "begins empty")
        for w in m.workers():
            expect(memfds(w["pid"]) == {7: identity}, "behind the one listener")
            with open(f"/proc/{w['pid']}/environ", "rb") as f:
                expect(b"PUGD_VISITORS_FD=7" in f.read(), "announced")
        keeper, = m.workers("keeper")
        expect(memfds(keeper["pid"]) == {}, "the keeper has no business with it")


def test_reloads_keep_it():
    with Master(BIN["pugd"]) as m:
        with visitors(m) as (fd, identity):
            os.pwrite(fd, b"mark", 64)
            # The same binary, one with another segment, one that cannot take over, and back.
            for binary, outcome in (("pugd", "completed"), ("pugd-other", "completed"),
                                    ("pugd-future", "rejected"), ("pugd", "completed")):
                m.install(BIN[binary])
                m.reload(outcome)
                expect(list(memfds(m.process.pid).values()) == [identity], binary)
                for w in m.workers():
                    expect(list(memfds(w["pid"]).values()) == [identity], binary)
            dead = m.workers()[0]["pid"]
            os.kill(dead, signal.SIGKILL)
            alive = m.wait("respawn", lambda: (
                lambda ws: ws if len(ws) == 2 and dead not in {w["pid"] for w in ws} else None)(
                    m.workers()))
            for w in alive:
                expect(list(memfds(w["pid"]).values()) == [identity], "respawned")
            expect(os.pread(fd, 4, 64) == b"mark", "nothing was wiped")


def test_a_dead_writer_is_mended():
    with Master(BIN["pugd"]) as m:
        with visitors(m) as (fd, _):
            pid = m.workers()[0]["pid"]
            os.pwrite(fd, struct.pack("<Q", 1 << 32 | pid), SET)
            os.pwrite(fd, b"half a visit", SET + 8)
            os.kill(pid, signal.SIGKILL)
            m.wait_log(f"visitors mended pid={pid} places=1")
            expect(os.pread(fd, 4, SET) == bytes(4), "free again")
            expect(os.pread(fd, 12, SET + 8) == bytes(12), "wiped")


def expired_salt():
    day = int(time.time()) // 86400 - 2
    return 256 + 64 * (day % 4) + 8, struct.pack("<Q", day * 2 + 1) + b"S" * 32


def test_service_manager_keeps_it():
    with Master(BIN["pugd"]) as m:
        fd = stored(m)
        identity = (os.fstat(fd).st_dev, os.fstat(fd).st_ino)
        expect(list(memfds(m.process.pid).values()) == [identity], "the very one")
        os.pwrite(fd, b"mark", 64)
        m.reload()
        expect(not any("FDSTORE" in n for n in m.notes_now()), "stored once")
        m.stop(signal.SIGKILL)
        # Somebody died in the middle of it, and a salt ended while nobody ran.
        os.pwrite(fd, struct.pack("<Q", 4711), SET + 512)
        where, salt = expired_salt()
        os.pwrite(fd, salt, where)
    with socket.socket(fileno=high(socket.create_server(("127.0.0.1", 0)).detach())) as s:
        for fds, names in (((s.fileno(), fd), "http:" + NAME), ((fd, s.fileno()), NAME + ":http"),
                           ((fd,), NAME)):
            with Master(BIN["pugd"], launcher=launch_with(*fds, names=names), pass_fds=fds) as m:
                m.wait_log("visitors kept over the restart")
                expect(list(memfds(m.process.pid).values()) == [identity], names)
                expect(list(memfds(m.workers()[0]["pid"]).values()) == [identity], names)
                expect((m.address()[1] == s.getsockname()[1]) == (len(fds) == 2), "its own socket")
                m.get()
                expect(not any("FDSTORE" in n for n in m.notes_now()), "it is there already")
                expect(m.stop() == 0, "stop")
            expect(os.pread(fd, 4, 64) == b"mark", "a clean end wipes nothing that is kept")
    expect(os.pread(fd, 4, SET + 512) == bytes(4), "mended")
    expect(os.pread(fd, len(salt), where) == bytes(len(salt)), "wiped at the start")
    os.close(fd)


def test_another_layout_is_not_used():
    fd = high(os.memfd_create("other", os.MFD_CLOEXEC))
    with Master(BIN["pugd"], launcher=launch_with(fd, names=NAME), pass_fds=(fd,)) as m:
        m.wait_log("visitors that were kept cannot be used.*another layout")
        notes = m.notes_now()
        expect(notes[:2] == [f"FDSTOREREMOVE=1\nFDNAME={NAME}", f"FDSTORE=1\nFDNAME={NAME}"], notes)
        expect(len(memfds(m.process.pid)) == 1 and m.get(), "begins anew")
    os.close(fd)


def test_without_service_manager():
    with Master(BIN["pugd"], notify=False) as m:
        with visitors(m) as (fd, _):
            where, salt = expired_salt()
            os.pwrite(fd, salt, where)
            expect(m.stop() == 0, "stop")
            expect(os.pread(fd, len(salt), where) == bytes(len(salt)), "wiped at the end")


if __name__ == "__main__":
    sys.exit(main(dict(globals())))
