#!/usr/bin/env python3
"""The credential file rotates by reload and signs nobody out (D7, D58, D86): tokens, page
tokens and sealed secrets of the previous file go on until it is taken away."""
import os
import shutil
import signal
import sys
import tempfile
import time

import pug

AUTH, ORGS = "/auth.v1.AuthService/", "/orgs.v1.OrgsService/"
LIST = "/activity.v1.ActivityService/List"
BOARDS = "/dashboards.v1.DashboardsService/"
SHARED = "/dashboards.v1.SharedDashboardsService/Query"
PROVIDERS = "/orgemailproviders.v1.OrgEmailProvidersService/"


def reload(p, counter="completed"):
    before = p.admin()[counter]
    os.kill(p.info["master_pid"], signal.SIGHUP)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if p.admin()[counter] > before:
                return
        except (OSError, IndexError, ValueError):
            pass
        time.sleep(0.02)
    raise AssertionError(f"no reload {counter}: " + p.log()[-2000:])


class Rotating:
    """A server whose credential file and configuration the test changes."""

    def __init__(self, variant):
        self.folder = tempfile.mkdtemp(prefix="pugr-")
        self.key = os.path.join(self.folder, "key")
        self.previous = os.path.join(self.folder, "previous")
        self.config = os.path.join(self.folder, "pugd.conf")
        self.fresh_key()
        self.configure("")
        self.p = pug.Pug(variant, config=self.config, options=["credential_file=" + self.key])

    def fresh_key(self):
        with open(self.key + ".new", "wb") as f:
            os.fchmod(f.fileno(), 0o600)
            f.write(os.urandom(64))
        os.rename(self.key + ".new", self.key)

    def configure(self, text):
        with open(self.config, "w", encoding="utf-8") as f:
            f.write("workers = 2\n" + text)

    def rotate(self):
        shutil.copy(self.key, self.previous)
        self.fresh_key()
        self.configure(f"credential_previous_file = {self.previous}\n")
        reload(self.p)

    def finish(self):
        self.configure("")
        reload(self.p)

    def __enter__(self):
        self.p.__enter__()
        return self

    def __exit__(self, *how):
        try:
            self.p.__exit__(*how)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)


def test_nobody_is_signed_out(variant):
    with Rotating(variant) as r:
        p = r.p
        pair = p.ok(AUTH + "SignIn", {"email": p.info["email"], "password": p.info["password"]})
        token, first = pair["token"], pair["refreshToken"]
        prv = p.info["private_key"]
        p.ok("/events.v1.EventsService/BatchCreate",
             {"events": [{"name": "x", "distinctId": "d"} for _ in range(3)]}, key=prv)
        page = p.ok(LIST, {"pageSize": 1}, key=prv)["nextPageToken"]
        # A refresh whose answer is lost; the rotation comes in between.
        second = p.ok(AUTH + "RefreshToken", {"refreshToken": first})["refreshToken"]
        r.rotate()
        p.ok(ORGS + "List", token=token)
        assert len(p.ok(LIST, {"pageSize": 1, "pageToken": page}, key=prv)["events"]) == 1
        again = p.ok(AUTH + "RefreshToken", {"refreshToken": first})
        assert again["refreshToken"] == second, "the repeat is the successor of before"
        third = p.ok(AUTH + "RefreshToken", {"refreshToken": second})
        p.ok(ORGS + "List", token=third["token"])
        r.finish()
        # What only the old file signed is over; sessions go on.
        assert p.call(ORGS + "List", token=token)[0] == 401
        assert p.call(LIST, {"pageSize": 1, "pageToken": page}, key=prv)[0] == 400
        p.ok(ORGS + "List", token=third["token"])
        p.ok(AUTH + "RefreshToken", {"refreshToken": third["refreshToken"]})
        p.ok(LIST, {"pageSize": 1}, key=prv)


def test_provider_secrets_are_sealed_anew(variant):
    """With the previous file gone they open, because the keeper has sealed them again."""
    with Rotating(variant) as r:
        p, org = r.p, r.p.info["org_id"]
        token = p.sign_in()
        p.ok(PROVIDERS + "Upsert", {"orgId": org, "fromAddress": "a@shop.example",
                                    "resend": {"apiKey": "re_1234567890abcdef"}}, token=token)

        def sealed():
            return p.psql(f"SELECT encode(secret, 'hex') FROM pugd.org_email_providers WHERE org_id = '{org}'")
        before = sealed()
        r.rotate()
        assert p.ok(PROVIDERS + "Get", {"orgId": org}, token=token)["redactedSecret"] == "re_12345***cdef"
        end = time.monotonic() + 90
        while sealed() == before:
            assert time.monotonic() < end, "the keeper has not sealed it again"
            time.sleep(0.05)
        r.finish()
        token = p.sign_in()
        assert p.ok(PROVIDERS + "Get", {"orgId": org}, token=token)["redactedSecret"] == "re_12345***cdef"


def test_shared_links_stay(variant):
    """A link works whatever becomes of the keys, and Get goes on showing it."""
    with Rotating(variant) as r:
        p = r.p
        kw = {"token": p.sign_in(), "project": p.info["project_id"]}
        board = p.ok(BOARDS + "Create", {"displayName": "x"}, **kw)["dashboard"]["id"]
        link = p.ok(BOARDS + "Update", {"id": board, "displayName": "x", "isPublic": True},
                    **kw)["dashboard"]["shareId"]

        def sealed():
            return p.psql("SELECT encode(sealed, 'hex') FROM pugd.dashboard_shares")

        def works():
            assert p.ok(BOARDS + "Get", {"id": board}, **kw)["dashboard"]["shareId"] == link
            assert p.ok(SHARED, {"shareId": link})["dashboard"]["id"] == board
        before = sealed()
        r.rotate()
        works()
        end = time.monotonic() + 90
        while sealed() == before:
            assert time.monotonic() < end, "the keeper has not sealed it again"
            time.sleep(0.05)
        r.finish()
        kw["token"] = p.sign_in()
        works()
        # With no key for it at all there is no link to show; the one that is out there works.
        r.fresh_key()
        reload(p)
        kw["token"] = p.sign_in()
        got = p.ok(BOARDS + "Get", {"id": board}, **kw)["dashboard"]
        assert "shareId" not in got and got["displayName"] == "x", got
        assert p.ok(SHARED, {"shareId": link})["dashboard"]["id"] == board


def test_a_bad_credential_changes_nothing(variant):
    with Rotating(variant) as r:
        p = r.p
        token = p.sign_in()
        shutil.copy(r.key, r.previous)
        for spoil in (lambda: open(r.key, "wb").close(), lambda: os.chmod(r.key, 0o644)):
            spoil()
            reload(p, "rejected")
            p.ok(ORGS + "List", token=token)
            shutil.copy(r.previous, r.key)
            os.chmod(r.key, 0o600)
        reload(p)
        p.ok(ORGS + "List", token=token)


if __name__ == "__main__":
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    sys.exit(pug.main(tests, expects=("credential_file: ",)))
