#!/usr/bin/env python3
"""The search for secrets that every suite ends with finds them: or it could not fail."""
import sys
import tempfile

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


if __name__ == "__main__":
    sys.exit(pug.main([("test_told", test_told)]))
