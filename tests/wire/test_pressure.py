#!/usr/bin/python3
"""Limits that one connection cannot show: many connections, memory, descriptors,
slow readers, draining. Runs the echo program of --variant."""
import argparse
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import unittest

PROGRAM = None
GET = b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n"


class Echo:
    def __init__(self, *settings, files=None):
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        self.child = subprocess.Popen([PROGRAM, *settings], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                                      preexec_fn=limit if files else None)
        self.port = int(self.child.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.stdout.close()
        assert self.child.wait(timeout=20) == 0, "the server died"

    def connect(self, timeout=5.0):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def cpu(self):
        with open("/proc/%d/stat" % self.child.pid, encoding="ascii") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / 100


def ask(sock, request=GET):
    sock.sendall(request)
    return answer(sock)


def answer(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        got = sock.recv(65536)
        if not got:
            return None
        data += got
    head, body = data.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += sock.recv(65536)
    return head


class Pressure(unittest.TestCase):
    def test_accepting_pauses_and_goes_on(self):
        with Echo("max_connections=32") as e:
            first = [e.connect() for _ in range(32)]
            for s in first:
                self.assertIn(b" 200 ", ask(s))
            late = e.connect()
            late.sendall(GET)
            late.settimeout(0.3)
            with self.assertRaises(socket.timeout):
                late.recv(1)
            for s in first[:8]:
                s.close()
            late.settimeout(5)
            self.assertIn(b" 200 ", answer(late))
            for s in first[8:] + [late]:
                s.close()

    def test_out_of_descriptors(self):
        with Echo("max_connections=1000", files=64) as e:
            socks = []
            for _ in range(150):
                socks.append(e.connect())
            time.sleep(0.5)
            cpu = e.cpu()
            time.sleep(1)
            self.assertLess(e.cpu() - cpu, 0.3, "it spins")
            for s in socks:
                s.close()
            time.sleep(0.3)
            s = e.connect()
            self.assertIn(b" 200 ", ask(s))
            s.close()

    def test_too_many_calls(self):
        with Echo("max_calls=10") as e:
            socks = [e.connect() for _ in range(40)]
            for s in socks:
                s.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.1)
            health = e.connect()
            self.assertIn(b" 200 ", ask(health, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"))
            heads = [answer(s) for s in socks]
            self.assertEqual(sum(b" 200 " in h for h in heads), 10)
            refused = [h for h in heads if b" 503 " in h]
            self.assertEqual(len(refused), 30)
            self.assertIn(b"Retry-After: 1", refused[0])
            for s in socks + [health]:
                s.close()

    def test_memory_budget(self):
        """64 bodies of 90 KB under a budget of 2 MB: all are answered, none with garbage."""
        body = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 90000\r\n\r\n" + b"x" * 89999
        with Echo("worker_memory=2000000", "body_timeout=8000") as e:
            socks, heads = [e.connect(10) for _ in range(64)], []
            threads = [threading.Thread(target=s.sendall, args=(body,)) for s in socks]
            for t in threads:
                t.start()
            for t in threads:
                t.join(10)
            time.sleep(1.5)
            for s in socks:
                try:
                    s.sendall(b"y")
                except OSError:
                    pass
            for s in socks:
                heads.append(answer(s))
                s.close()
            codes = sorted({h.split(b" ")[1] for h in heads if h})
            self.assertEqual(codes, [b"200", b"503"], codes)
            self.assertTrue(all(heads))
            s = e.connect()
            self.assertIn(b" 200 ", ask(s))
            s.close()

    def hold(self, e, size):
        s = e.connect(15)
        s.sendall(b"GET /hold?%d HTTP/1.1\r\nHost: a\r\n\r\n" % size)
        time.sleep(0.1)
        return s

    def answered(self, begin, sock, least, most):
        self.assertIn(b" 200 ", answer(sock))
        took = time.monotonic() - begin
        self.assertTrue(least <= took < most, took)
        sock.close()

    def test_small_calls_pass_those_that_wait(self):
        with Echo("worker_memory=2000000") as e:
            large, begin = [self.hold(e, 1100000) for _ in range(2)], time.monotonic()
            for _ in range(3):
                self.answered(time.monotonic(), self.hold(e, 10000), 0, 1)
            self.answered(begin, large[0], 1, 4)
            self.answered(begin, large[1], 4, 8)

    def test_small_calls_have_a_quarter(self):
        with Echo("worker_memory=2000000") as e:
            large, begin = self.hold(e, 1400000), time.monotonic()
            small = [self.hold(e, 200000) for _ in range(3)]
            self.answered(begin, large, 1, 4)
            self.answered(begin, small[0], 1, 4)
            self.answered(begin, small[1], 1, 4)
            self.answered(begin, small[2], 4, 8)

    def test_who_left_does_not_wait_for_memory(self):
        with Echo("worker_memory=2000000") as e:
            first, begin = self.hold(e, 1100000), time.monotonic()
            left = self.hold(e, 1100000)
            last = self.hold(e, 300000)
            left.close()
            self.answered(begin, last, 1, 4)
            self.answered(begin, first, 1, 4)

    def test_stalled_bodies_do_not_stop_calls(self):
        """They take more than what calls may begin with, and less than what pauses sockets."""
        head = b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 99000\r\n\r\n"
        with Echo("worker_memory=2000000", "body_timeout=12000") as e:
            stalled = [e.connect() for _ in range(14)]
            for s in stalled:
                s.sendall(head + b"x" * 70000)
            time.sleep(1.3)
            large, begin = [self.hold(e, 300000) for _ in range(2)], time.monotonic()
            self.answered(time.monotonic(), self.hold(e, 10000), 0, 1)
            for s in large:
                self.answered(begin, s, 1, 4.5)
            # no more of them than was needed
            lives = 0
            for s in stalled:
                try:
                    s.sendall(b"x" * 29000)
                    lives += b" 200 " in answer(s)
                except OSError:
                    pass
                s.close()
            self.assertTrue(3 <= lives < 14, lives)

    def test_slow_readers_are_dropped(self):
        with Echo("body_timeout=700") as e:
            socks = []
            for _ in range(5):
                s = socket.socket()
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.settimeout(10)
                s.connect(("127.0.0.1", e.port))
                s.sendall(b"GET /big HTTP/1.1\r\nHost: a\r\n\r\n")
                socks.append(s)
            time.sleep(2.5)
            for s in socks:
                got = 0
                try:
                    while True:
                        n = len(s.recv(65536))
                        if n == 0:
                            break
                        got += n
                except ConnectionResetError:
                    pass
                self.assertLess(got, 4 << 20)
                s.close()

    def test_a_reply_in_drops_ends(self):
        """64 KB at 16 KB/s are 4 s and the body_timeout more, however busy the reader looks."""
        with Echo("body_timeout=2000", "send_buffer=4096") as e:
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(5)
            s.connect(("127.0.0.1", e.port))
            s.sendall(b"GET /page HTTP/1.1\r\nHost: a\r\n\r\n")
            begin, got = time.monotonic(), 0
            try:
                while time.monotonic() - begin < 13:
                    n = len(s.recv(1200))
                    if n == 0:
                        break
                    got += n
                    time.sleep(0.3)
            except ConnectionResetError:
                pass
            took = time.monotonic() - begin
            self.assertLess(got, 64 << 10)
            self.assertTrue(4 < took < 12.5, (took, got))
            s.close()

    def test_half_open_heads_do_not_slow_others(self):
        with Echo("max_connections=3000", "head_timeout=60000") as e:
            lorises = []
            for _ in range(600):
                s = e.connect()
                s.sendall(b"GET /echo HTTP/1.1\r\nHost: a\r\nX: ")
                lorises.append(s)
            s, times = e.connect(), []
            for i in range(300):
                if i % 10 == 0:
                    for loris in lorises[i::300]:
                        loris.sendall(b"x")
                begin = time.monotonic()
                self.assertIn(b" 200 ", ask(s))
                times.append(time.monotonic() - begin)
            self.assertLess(sorted(times)[290], 0.05)
            for loris in lorises + [s]:
                loris.close()

    def test_pipelining_client_does_not_starve_others(self):
        with Echo() as e:
            greedy, s = e.connect(), e.connect()
            greedy.sendall(GET * 1000)
            begin = time.monotonic()
            self.assertIn(b" 200 ", ask(s))
            self.assertLess(time.monotonic() - begin, 1.0)
            greedy.close()
            s.close()

    def test_drain_gives_idle_connections_one_last_answer(self):
        with Echo("idle_timeout=60000") as e:
            used, fresh, silent = e.connect(), e.connect(), e.connect(10)
            for s in (used, silent):
                self.assertNotIn(b"Connection: close", ask(s))
            slow = e.connect()
            slow.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            time.sleep(0.1)
            e.child.stdin.write(b"d")
            e.child.stdin.flush()
            begin = time.monotonic()
            self.assertIn(b"Connection: close", answer(slow))
            time.sleep(1)
            late = e.connect()
            for s in (used, fresh):
                self.assertIn(b"Connection: close", ask(s))
                self.assertEqual(s.recv(1), b"")
            late.sendall(GET)
            self.assertEqual(silent.recv(1), b"")
            self.assertGreater(time.monotonic() - begin, 5.0)
            late.settimeout(0.2)
            with self.assertRaises(socket.timeout):
                late.recv(1)
            for s in (used, fresh, silent, slow, late):
                s.close()


def main():
    global PROGRAM
    p = argparse.ArgumentParser()
    p.add_argument("--variant", default="test")
    p.add_argument("--program")
    a = p.parse_args()
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    PROGRAM = a.program or os.path.join(top, "build", a.variant, "bin/wire/echo_main")
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(Pressure)
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors)
    print("%d passed, %d failed" % (result.testsRun - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
