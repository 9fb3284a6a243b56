#!/usr/bin/python3
"""Replays wire fixtures against a server: bytes in, replies out.

    run.py --address HOST:PORT [FILE...]     a running server
    run.py --program PROGRAM [FILE...]       started here, prints its port
    run.py --corpus DIR                      writes the requests as a fuzz corpus

A fixture file holds cases. `=== name` begins one; then, in order:
    > text              bytes to send; escapes \\r \\n \\t \\\\ \\0 \\xHH, {N*text} repeats
    > ...pause 200...   waits (milliseconds)
    > ...fin...         shuts our sending side
    < 200               the next reply's status, waited for before going on
    < header Name: re   in that reply; `< no-header Name`
    < body re           regular expression found in its body (`< length N` for its size)
    < close             the server ends the connection (a reset counts, too)
    < open              the connection stays open and silent for a moment
    < within MS         the case so far took at most that long
Every case runs whole, byte by byte, and in random splits.
"""
import argparse
import concurrent.futures
import os
import random
import re
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
WAIT = 6.0


class Mismatch(Exception):
    pass


def unescape(text):
    def one(m):
        s = m.group(1)
        if s[0] == "x":
            return chr(int(s[1:], 16))
        return {"r": "\r", "n": "\n", "t": "\t", "0": "\0", "\\": "\\"}[s]

    text = re.sub(r"\\(x[0-9a-fA-F]{2}|[rnt0\\])", one, text)
    for _ in range(2):
        text = re.sub(r"\{(\d+)\*([^{}]*)\}", lambda m: m.group(2) * int(m.group(1)), text)
    return text.encode("latin-1")


def load(path):
    cases = []
    with open(path, encoding="ascii") as f:
        for number, line in enumerate(f, 1):
            line = line.rstrip("\n")
            if line.startswith("=== "):
                cases.append((os.path.basename(path)[:-4] + ": " + line[4:], []))
            elif line[:2] in ("> ", "< ") and cases:
                cases[-1][1].append((line[0], line[2:]))
            elif line.strip() and not line.startswith("#"):
                sys.exit("%s:%d: neither > nor < nor ===" % (path, number))
    return cases


class Connection:
    def __init__(self, address, mode, seed):
        self.sock = socket.create_connection(address, timeout=WAIT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.mode, self.random = mode, random.Random(seed)
        self.data, self.ended, self.method = b"", False, b""
        self.methods = []

    def pieces(self, data):
        if self.mode == "whole":
            yield data
            return
        if self.mode == "bytes":
            step = 1 if len(data) < 20000 else 211
            for i in range(0, len(data), step):
                yield data[i:i + step]
            return
        while data:
            n = self.random.randint(1, max(1, min(len(data), self.random.choice((3, 40, 4000)))))
            yield data[:n]
            data = data[n:]

    def send(self, data):
        try:
            for piece in self.pieces(data):
                self.sock.sendall(piece)
        except OSError:
            pass  # refused early: what the server said is still to be read

    def more(self, deadline):
        left = deadline - time.monotonic()
        if left <= 0:
            raise Mismatch("nothing came within the time; have %r" % self.data[:200])
        self.sock.settimeout(left)
        try:
            got = self.sock.recv(65536)
        except socket.timeout:
            raise Mismatch("nothing came within the time; have %r" % self.data[:200])
        except OSError:
            got = b""
        if not got:
            self.ended = True
        self.data += got

    def reply(self, head_only):
        deadline = time.monotonic() + WAIT
        while b"\r\n\r\n" not in self.data:
            if self.ended:
                raise Mismatch("connection ended, wanted a reply; have %r" % self.data[:200])
            self.more(deadline)
        head, rest = self.data.split(b"\r\n\r\n", 1)
        lines = head.split(b"\r\n")
        m = re.fullmatch(rb"HTTP/1\.1 (\d{3}) [ -~]*", lines[0])
        if not m:
            raise Mismatch("malformed status line %r" % lines[0])
        status, headers = int(m.group(1)), []
        for line in lines[1:]:
            m = re.fullmatch(rb"([!-9;-~]+): ([\t -~]*)", line)
            if not m:
                raise Mismatch("malformed header line %r" % line)
            headers.append((m.group(1).decode().lower(), m.group(2).decode()))
        length = 0
        if status >= 200 and status not in (204, 304):
            length = int(dict(headers)["content-length"])
        if head_only:
            length = 0
        self.data = rest
        while len(self.data) < length:
            if self.ended:
                raise Mismatch("connection ended within a body")
            self.more(deadline)
        body, self.data = self.data[:length], self.data[length:]
        return status, headers, body

    def expect_close(self):
        deadline = time.monotonic() + WAIT
        while not self.ended:
            self.more(deadline)
        if self.data:
            raise Mismatch("unexpected bytes before the end: %r" % self.data[:200])

    def expect_open(self):
        self.sock.settimeout(0.15)
        try:
            got = self.sock.recv(1000)
        except socket.timeout:
            got = None
        if got is not None or self.data:
            raise Mismatch("connection did not stay silent: %r" % (got or self.data)[:200])


def check_line(con, line, last, heads):
    word, _, rest = line.partition(" ")
    if word.isdigit():
        head_only = bool(heads and heads.pop(0) == b"HEAD") if int(word) >= 200 else False
        last = con.reply(head_only)
        if last[0] != int(word):
            raise Mismatch("status %d, wanted %s; body %r" % (last[0], word, last[2][:200]))
    elif word == "header":
        name, _, pattern = rest.partition(": ")
        values = [v for k, v in last[1] if k == name.lower()]
        if len(values) != 1 or not re.fullmatch(pattern, values[0]):
            raise Mismatch("header %s is %r, wanted %r" % (name, values, pattern))
    elif word == "no-header":
        if [v for k, v in last[1] if k == rest.lower()]:
            raise Mismatch("header %s is there" % rest)
    elif word == "body":
        if not re.search(unescape(rest), last[2], re.S):
            raise Mismatch("body %r, wanted %r" % (last[2][:300], rest))
    elif word == "length":
        if len(last[2]) != int(rest):
            raise Mismatch("body of %d bytes, wanted %s" % (len(last[2]), rest))
    elif word == "close":
        con.expect_close()
    elif word == "open":
        con.expect_open()
    else:
        raise Mismatch("unknown expectation %r" % line)
    return last


def run_case(address, case, mode, seed):
    name, steps = case
    begin = time.monotonic()
    con = Connection(address, mode, seed)
    last, out, heads = None, b"", []
    try:
        for kind, text in steps + [("<", None)]:
            pause = re.fullmatch(r"\.\.\.(pause (\d+)|fin)\.\.\.", text or "")
            if kind == ">" and not pause:
                out += unescape(text)
                continue
            if out:
                heads += re.findall(rb"(?:^|\n)([A-Z]+) [^ ]+ HTTP/1", out)
                con.send(out)
                out = b""
            if pause and pause.group(2):
                time.sleep(int(pause.group(2)) / 1000)
            elif pause:
                con.sock.shutdown(socket.SHUT_WR)
            elif text is not None and text.startswith("within "):
                took = (time.monotonic() - begin) * 1000
                if took > int(text[7:]):
                    raise Mismatch("took %d ms" % took)
            elif text is not None:
                last = check_line(con, text, last, heads)
    except (Mismatch, OSError, KeyError, TypeError) as e:
        return "%s (%s, seed %d): %s" % (name, mode, seed, e)
    finally:
        con.sock.close()
    return None


def write_corpus(files, folder):
    os.makedirs(folder, exist_ok=True)
    for path in files:
        for name, steps in load(path):
            data = b"".join(unescape(t) for k, t in steps if k == ">" and not t.startswith("..."))
            slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:80]
            if len(data) <= 8192:
                with open(os.path.join(folder, slug), "wb") as f:
                    f.write(b"\x00" + data)


def run_all(address, cases, seed):
    jobs = [(c, mode, seed + i) for c in cases
            for i, mode in enumerate(("whole", "bytes", "random", "random", "random"))]
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        results = list(pool.map(lambda j: run_case(address, *j), jobs))
    failures = [r for r in results if r]
    for line in failures:
        print("FAIL", line)
    print("wire: %d passed, %d failed" % (len(jobs) - len(failures), len(failures)))
    return 1 if failures else 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--address")
    p.add_argument("--program")
    p.add_argument("--corpus")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", default="")
    p.add_argument("files", nargs="*")
    a = p.parse_args()
    folder = os.path.join(HERE, "fixtures")
    files = a.files or sorted(os.path.join(folder, f) for f in os.listdir(folder))
    if a.corpus:
        write_corpus(files, a.corpus)
        return 0
    cases = [c for f in files for c in load(f) if a.only in c[0]]
    if not a.program:
        host, _, port = a.address.rpartition(":")
        return run_all((host.strip("[]"), int(port)), cases, a.seed)
    with subprocess.Popen([a.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            rc = run_all(("127.0.0.1", int(child.stdout.readline())), cases, a.seed)
        finally:
            child.stdin.close()
        if child.wait(timeout=20) != 0:
            print("FAIL the server ended with status", child.returncode)
            return 1
    return rc


if __name__ == "__main__":
    sys.exit(main())
