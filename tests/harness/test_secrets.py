#!/usr/bin/env python3
"""What every suite ends with, the search for secrets and for errors, finds them: or it could not fail."""
import os
import signal
import sys
import tempfile
import time

import pug


def test_told(_):
    with tempfile.TemporaryDirectory(prefix="pugt-") as folder:
        p = pug.Pug(data=folder)
        p.secrets = pug.secrets_in({"email": "ada@example.com", "smtp": [{"password": "horse 8 battery"}],
                        "events": [{"key": "prv_" + "a1" * 20, "name": "order"}], "code": "short"}, set())
        assert p.secrets == {"ada@example.com", "horse 8 battery", "prv_" + "a1" * 20}, p.secrets
        for line, found in (("path=/x status=200 user=ada@example.com\n", "ada@example.com"),
                            ("key=prv_" + "a1" * 20 + ".", "prv_" + "a1" * 20),
                            ("wrong: \"horse 8 battery\"", "horse 8 battery")):
            assert p.told(["nothing here", line]) == [found], line
        assert p.told(["path=/x status=200", "prv_" + "a2" * 20]) == []


def test_errors(variant):
    quiet = "2026-01-01T00:00:00.000Z warn w=1 g=1: error in a text\n"
    with tempfile.TemporaryDirectory(prefix="pugt-") as folder:
        p = pug.Pug(data=folder)
        with open(p.log_path, "w", encoding="ascii") as f:
            f.write("ERROR:  of PostgreSQL\n" + quiet + quiet.replace(" warn ", " error ") + quiet)
        assert p.errors() == [quiet.replace(" warn ", " error ").strip()], p.errors()
    died = None
    pug.EXPECTED.extend(pug.KILLS)  # what is killed is no crash
    try:
        with pug.Pug(variant, options=["workers=2"]) as p:
            first, second = [w["pid"] for w in p.admin()["workers"] if w["role"] == "worker"]
            os.kill(first, signal.SIGKILL)
            os.kill(second, signal.SIGABRT)
            end = time.monotonic() + 30
            while f"pid={second} " not in "".join(p.errors()) and time.monotonic() < end:
                time.sleep(0.02)
    except AssertionError as error:
        died = str(error)
    finally:
        pug.EXPECTED.clear()
    assert died and "nobody provoked" in died and f"pid={second} " in died and f"pid={first} " not in died, died


if __name__ == "__main__":
    sys.exit(pug.main([("test_told", test_told), ("test_errors", test_errors)]))
