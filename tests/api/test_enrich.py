#!/usr/bin/env python3
"""What the server adds to events and takes away (events-profiles.md 1.8-1.13): place, user agent, robots,
attribution; and the requests of the released SDKs, byte by byte (`fixtures/`, written by clients.md)."""
import contextlib
import datetime
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import uuid

import yaml

import mmdb
import protos
import pug
import test_accounts
import test_events
from test_events import LIST, Project, ask, flt

BATCH = "/events.v1.EventsService/BatchCreate"
HERE = os.path.dirname(os.path.abspath(__file__))
RULES = "/usr/share/uap-core/tests/"
FIREFOX = "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:126.0) Gecko/20100101 Firefox/126.0"
IPHONE = ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
          "Version/17.0 Mobile/15E148 Safari/604.1")
CLOUDFLARE = {"CF-IPContinent": "EU", "CF-IPCountry": "DE", "CF-Region": "Bavaria", "CF-IPCity": "Munich",
              "CF-Postal-Code": "80331", "CF-Metro-Code": "0", "CF-IPLatitude": "48.13743",
              "CF-IPLongitude": "11.57549", "CF-Timezone": "Europe/Berlin"}
PLACES = {"$continent": "EU", "$country": "DE", "$region": "Bavaria", "$city": "Munich",
          "$postalCode": "80331", "$metroCode": "0", "$latitude": 48.13743, "$longitude": 11.57549,
          "$timezone": "Europe/Berlin"}
CITY = {"continent": {"code": "NA"}, "country": {"iso_code": "US"},
        "subdivisions": [{"iso_code": "TX", "names": {"en": "Texas", "de": "Texas!"}}],
        "city": {"names": {"en": "Austin"}}, "postal": {"code": "78701"},
        "location": {"latitude": 30.25, "longitude": -97.75, "metro_code": mmdb.Uint16(635),
                     "time_zone": "America/Chicago"}}
AUSTIN = {"$continent": "NA", "$country": "US", "$region": "Texas", "$city": "Austin",
          "$postalCode": "78701", "$metroCode": "635", "$latitude": 30.25, "$longitude": -97.75,
          "$timezone": "America/Chicago"}
P = DATABASE = None


def value(v):
    return v if isinstance(v, dict) else {"boolValue": v} if isinstance(v, bool) else \
        {"intValue": v} if isinstance(v, int) else {"doubleValue": v} if isinstance(v, float) else \
        {"stringValue": v}


class Site:
    """A fresh project, and what became of single events."""

    def __init__(self):
        self.project = Project()

    def auto(self, props=None, headers=None, server=None, **extra):
        """Automatic properties of an event that was sent with these."""
        kind = "k" + uuid.uuid4().hex
        body = {"events": [{"eventId": str(uuid.uuid4()), "kind": kind, "distinctId": "u",
                            "sessionId": str(uuid.uuid4()), "occurTime": "2025-05-04T10:00:00Z",
                            "autoProperties": {k: value(v) for k, v in (props or {}).items()}, **extra}]}
        answer = (server or P).ok(BATCH, body, key=self.project.pub, headers=headers)
        assert answer["accepted"] == 1, answer
        found = P.ok(LIST, {"kind": kind}, key=self.project.prv)["events"]
        assert len(found) == 1, found
        return found[0].get("autoProperties", {})

    def count(self, kind, *filters):
        """How many events of the kind the filters let through: what insights see."""
        now = datetime.datetime.now(test_events.UTC)
        day = datetime.timedelta(days=1)
        return self.project.total(now - day, now + day, ask(kind, filters=filters))


def test_places_from_headers(_):
    site = Site()
    assert site.auto(headers=CLOUDFLARE) == PLACES
    # The header wins, key by key; without one the client's value stays.
    said = {"$country": "FR", "$city": "Paris", "$latitude": 1.5, "$postalCode": 75001}
    assert site.auto(said, CLOUDFLARE) == PLACES
    assert site.auto(said, {"CF-IPCountry": "DE"}) == {**said, "$country": "DE"}
    assert site.auto(said) == said
    # Values that say nothing leave the client's alone.
    assert site.auto(said, {"CF-IPCountry": "XX", "CF-IPCity": "Unknown", "CF-IPLatitude": ""}) == said
    assert site.auto(said, {"CF-IPCountry": "T1"}) == said
    # Odd numbers: text when it is none, and never one that no answer can hold.
    got = site.auto(headers={"CF-IPLatitude": "north", "CF-IPLongitude": "NaN"})
    assert got == {"$latitude": "north"}, got
    assert site.auto(headers={"CF-IPLatitude": "-Infinity"}) == {}
    # Latin-1 bytes are no UTF-8 (http.client writes header text as Latin-1).
    assert site.auto(headers={"CF-IPCity": "M\xfcnchen"}) == {"$city": "M\ufffdnchen"}
    assert site.auto(headers={"CF-IPCity": "München".encode().decode("latin-1")}) == {"$city": "München"}
    assert site.auto(headers={"CF-IPCity": "x" * 5000}) == {}


def test_only_the_first_of_repeated_headers(_):
    site = Site()
    body = json.dumps({"events": [{"name": "twice", "distinctId": "u"}]}).encode()
    answer = P.raw(b"POST " + BATCH.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   b"X-Api-Key: " + site.project.pub.encode() + b"\r\nCF-IPCountry: IT\r\n"
                   b"cf-ipcountry: ES\r\nCF-IPCity: \r\nCF-IPCity: Madrid\r\nConnection: close\r\n"
                   b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    got = P.ok(LIST, {"kind": "twice"}, key=site.project.prv)["events"][0]["autoProperties"]
    assert got == {"$country": "IT"}, got


def test_robots(_):
    site = Site()
    lies = {"$bot_score": 99, "$verified_bot": True, "$ip": "192.0.2.1"}
    assert site.auto(lies) == {}
    for score, want in (("0", "0"), ("30", "30"), ("255", "255"), ("256", None), ("-1", None), ("+5", None),
                        ("5.0", None), ("x", None), ("", None)):
        got = site.auto(lies, {"CF-Bot-Score": score})
        assert got == ({} if want is None else {"$bot_score": want}), (score, got)
    for verified, want in (("true", True), ("false", True), ("True", False), ("1", False)):
        got = site.auto(lies, {"CF-Verified-Bot": verified})
        assert got == ({"$verified_bot": verified} if want else {}), (verified, got)
    kind = "numbers"
    P.ok(BATCH, {"events": [{"name": kind, "distinctId": "u", "properties": {"$bot_score": 1}}]},
         key=site.project.pub, headers={"CF-Bot-Score": "40"})
    assert site.count(kind, flt("$bot_score", "GTE", "40")) == 1
    assert site.count(kind, flt("$bot_score", "LT", "40")) == 0
    # Custom keys of such names are the client's business.
    P.ok(BATCH, {"events": [{"name": "own", "distinctId": "u", "properties": {"ip": "x", "channel": "y"}}]},
         key=site.project.pub)
    got = P.ok(LIST, {"kind": "own"}, key=site.project.prv)["events"][0]
    assert got["customProperties"] == {"ip": "x", "channel": "y"}, got


def test_the_plain_spelling_is_enriched_too(_):
    site = Site()
    P.ok(BATCH, {"events": [{"name": "plain", "distinctId": "u", "properties": {
        "$url": "https://a.example/x", "$ip": "192.0.2.9", "$channel": "Email", "$screenWidth": 800,
        "$screenHeight": 600.0}}]}, key=site.project.pub, headers={"user-agent": IPHONE})
    got = P.ok(LIST, {"kind": "plain"}, key=site.project.prv)["events"][0]["autoProperties"]
    assert got == {"$url": "https://a.example/x", "$pathname": "/x", "$hostname": "a.example",
                   "$channel": "Direct", "$screenWidth": 800, "$screenHeight": 600,
                   "$screenSize": "800x600", "$browser": "Safari", "$browserVersion": "17", "$os": "iOS",
                   "$osVersion": "17.0", "$device": "iPhone", "$mobile": "true"}, got


def test_user_agents(_):
    site = Site()
    linux = {"$browser": "Firefox", "$browserVersion": "126", "$os": "Linux"}
    got = site.auto(headers={"user-agent": FIREFOX})
    assert {k: v for k, v in got.items() if k != "$mobile"} == linux, got
    phone = site.auto(headers={"user-agent": IPHONE})
    assert phone["$device"] == "iPhone" and phone["$mobile"] == "true", phone
    # A key that the client sent stays, also an empty one; the others are completed.
    got = site.auto({"$browser": "", "$os": "TempleOS", "$mobile": "false"}, {"user-agent": IPHONE})
    assert (got.get("$browser", ""), got["$os"], got["$osVersion"]) == ("", "TempleOS", "17.0"), got
    assert got.get("$mobile", "false") != "true", got
    for nobody in ("connect-es/2.1.1", "node", "undici", "nobody knows", ""):
        assert site.auto(headers={"user-agent": nobody}) == {}, nobody
    # Hostile ones cost no more than others.
    start = time.monotonic()
    for text in ("; " * 8000, "Mozilla/5.0 (Linux; Android 1; " + "SM-" * 3000, "\xff\xfe" * 500, "(" * 9000):
        site.auto(headers={"user-agent": text})
    assert time.monotonic() - start < 5


def test_rules_of_the_package(variant):
    """What uap-core's own tests say, on the tables that were made from its rules."""
    files = (("test_ua.yaml", ("family", "major"), 0),
             ("test_os.yaml", ("family", "major", "minor", "patch"), 2), ("test_device.yaml", ("family",), 6))
    cases = {}
    for name, fields, at in files:
        with open(RULES + name, encoding="utf-8") as f:
            for case in yaml.load(f, Loader=yaml.CSafeLoader)["test_cases"]:
                agent = case["user_agent_string"]
                if "\n" not in agent and len(agent.encode()) <= 1024:
                    cases.setdefault(agent, []).append((at, [str(case.get(x) or "") for x in fields]))
    probe = os.path.join(pug.TOP, "build", variant, "bin/api/agent_probe")
    done = subprocess.run([probe], input="".join(a + "\n" for a in cases).encode(), capture_output=True,
                          check=True)
    lines, wrong = done.stdout.decode("utf-8", "replace").split("\n"), []
    for (agent, wants), line in zip(cases.items(), lines):
        for at, want in wants:
            got = line.split("\t")[at:at + len(want)]
            # "Other" is nobody; and these kernels are told apart by rules of our own.
            got[0], want[0] = got[0].replace("Other", ""), want[0].replace("Other", "")
            if got != want and not (at == 2 and "Darwin/2" in agent):
                wrong.append((agent, want, got))
    assert len(cases) > 10000 and not wrong, (len(wrong), wrong[:5])


def test_attribution(_):
    site = Site()
    got = site.auto({"$url": "https://www.Shop.example:443/caf%C3%A9%20bar?utm_source=Newsletter"
                             "&utm_medium=email&utm_term=a+b#top",
                     "$referrer": "https://WWW.Google.com/search?q=x", "$locale": " zh_hans_cn ",
                     "$screenWidth": "1920", "$screenHeight": 1080.0,
                     "$channel": "Paid Search", "$referrerDomain": "lies.example"})
    assert {k: got.get(k) for k in ("$pathname", "$hostname", "$utmSource", "$utmMedium", "$utmTerm",
                                    "$referrerDomain", "$channel", "$locale", "$screenSize")} == {
        "$pathname": "/café bar", "$hostname": "www.shop.example", "$utmSource": "Newsletter",
        "$utmMedium": "email", "$utmTerm": "a b", "$referrerDomain": "google.com",
        "$channel": "Organic Search", "$locale": "zh-Hans-CN", "$screenSize": "1920x1080"}, got
    # No page, no channel; and nothing is made up.
    assert site.auto({"$channel": "Email", "$referrerDomain": "x"}) == {}
    assert site.auto({"$url": "/only/a/path", "$locale": "\u3000"}) == {"$url": "/only/a/path"}
    # What cannot be stored becomes U+FFFD; the batch is taken all the same.
    got = site.auto({"$url": "https://a.example/caf%E9/%00?utm_campaign=%00%ff"})
    assert got["$pathname"] == "/caf\ufffd/\ufffd" and got["$utmCampaign"] == "\ufffd\ufffd", got
    assert got["$channel"] == "Unassigned", got


def test_filters_see_what_was_added(_):
    site = Site()
    for url, agent in (("https://a.example/?utm_medium=cpc", FIREFOX), ("https://a.example/", IPHONE)):
        P.ok(BATCH, {"events": [{"name": "seen", "distinctId": "u", "properties": {"$url": url}}]},
             key=site.project.pub, headers={"user-agent": agent, "cf-ipcountry": "SE"})
    assert site.count("seen", flt("$channel", "EQUALS", "Paid Other")) == 1
    assert site.count("seen", flt("$browser", "EQUALS", "Safari")) == 1
    assert site.count("seen", flt("$mobile", "EQUALS", "true")) == 1
    assert site.count("seen", flt("$country", "EQUALS", "SE")) == 2


@contextlib.contextmanager
def server(**options):
    """A second pugd on the same database, not in development mode: it trusts nobody but as told."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="pugt-")
    settings = {"database_url": P.info["database_url"], "listen": f"127.0.0.1:{port}", "workers": 1,
                "admin_listen": "", "user": "", "credential_file": os.path.join(P.data, "credential"),
                **options}
    command = [P.binary, "run", "--config", os.path.join(folder, "pugd.conf")]
    with open(command[-1], "w", encoding="utf-8") as f:
        f.write("".join(f"{k} = \"{v}\"\n" for k, v in settings.items()))
    with open(os.path.join(folder, "log"), "w+b") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        other = pug.Pug(data=folder)
        other.host, other.port = "127.0.0.1", port
        try:
            for _ in range(600):
                with contextlib.suppress(OSError, http.client.HTTPException):
                    if other.call("/readyz", method="GET")[0] == 200:
                        break
                assert child.poll() is None, open(log.name, encoding="utf-8").read()
                time.sleep(0.1)
            yield other
        finally:
            child.terminate()
            child.wait(60)
            shutil.rmtree(folder)


def test_strangers_are_not_believed(_):
    site = Site()
    with server() as other:
        got = site.auto({"$city": "Oslo"}, {**CLOUDFLARE, "CF-Bot-Score": "1", "CF-Verified-Bot": "true"},
                        server=other)
        assert got == {"$city": "Oslo"}, got
        # The user agent is everybody's own.
        assert site.auto(headers={"user-agent": "curl/8.1.2"}, server=other)["$browser"] == "curl"
    with server(trusted_proxies="127.0.0.0/8") as other:
        assert site.auto(headers=CLOUDFLARE, server=other) == PLACES


def test_headers_have_other_names(_):
    site = Site()
    with server(trusted_proxies="127.0.0.1", geo_headers="country=X-Country, bot_score=X-Bot") as other:
        got = site.auto(headers={**CLOUDFLARE, "x-country": "NO", "X-Bot": "7", "CF-Bot-Score": "8"},
                        server=other)
        assert got == {"$country": "NO", "$bot_score": "7"}, got
    with server(trusted_proxies="127.0.0.1", geo_headers="") as other:
        assert site.auto(headers=CLOUDFLARE, server=other) == {}


def forwarded(address, **more):
    return {"x-forwarded-for": address, **more}


def test_database(_):
    """The dev server has geo_database; loopback, its own address, is in no database."""
    site = Site()
    assert site.auto() == {}
    assert site.auto(headers=forwarded("203.0.113.77")) == AUSTIN
    assert site.auto(headers=forwarded("2001:db8::1")) == AUSTIN
    assert site.auto(headers=forwarded("203.0.114.1")) == {}
    # As a header does, the database wins over the client, and only where it has something.
    assert site.auto({"$country": "FR", "$region": "x"}, forwarded("198.51.100.1")) == {
        "$country": "JP", "$region": "x"}
    # A header's country goes first; if the database means another one, its city is elsewhere.
    got = site.auto(headers=forwarded("203.0.113.77", **{"CF-IPCountry": "US", "CF-IPCity": "Dallas"}))
    assert got == {**AUSTIN, "$city": "Dallas"}, got
    assert site.auto(headers=forwarded("203.0.113.77", **{"CF-IPCountry": "CA"})) == {"$country": "CA"}
    assert site.auto(headers=forwarded("203.0.113.77", **{"CF-IPCountry": "XX"})) == AUSTIN
    # Odd entries: what is no text, or no number, is left out.
    assert site.auto(headers=forwarded("192.0.2.200")) == {"$city": "M\ufffdnchen"}


def test_check_names_what_cannot_be_used(_):
    with tempfile.TemporaryDirectory(prefix="pugt-") as folder:
        bad = os.path.join(folder, "bad.mmdb")
        with open(bad, "wb") as f:
            f.write(b"no database")
        for setting, words in ((f"geo_database = {folder}/absent.mmdb\n", ("geo_database", "absent.mmdb")),
                               (f"geo_database = {bad}\n", ("geo_database", "bad.mmdb")),
                               ("geo_headers = planet=X-Planet\n", ("geo_headers", "planet=X-Planet")),
                               ("geo_headers = country\n", ("geo_headers", "country")),
                               ("geo_headers = \"country=A country=B\"\n", ("geo_headers", "country=B"))):
            config = os.path.join(folder, "pugd.conf")
            with open(config, "w", encoding="utf-8") as f:
                f.write(f"credential_file = {P.data}/credential\n" + setting)
            done = subprocess.run([P.binary, "check", "--config", config], capture_output=True, text=True)
            assert done.returncode != 0 and all(w in done.stdout + done.stderr for w in words), done


def released(name, key):
    """A request as a released SDK sends it, with a key of its kind: status, head, body."""
    with open(os.path.join(HERE, "fixtures", name), "rb") as f:
        data = f.read()
    assert data.count(key[:4].encode() + b"0" * 40) == 1, name
    data = data.replace(key[:4].encode() + b"0" * 40, key.encode())
    with socket.create_connection((P.host, P.port), timeout=10) as s:
        s.sendall(data)
        answer = http.client.HTTPResponse(s)
        answer.begin()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


def took(name, key):
    status, head, body = released(name, key)
    assert status == 200 and head["content-type"] == "application/proto", (status, head, body)
    method = next(m for m in protos.methods() if m.path == BATCH)
    return head, method.decode(body)


def test_node_sdk(_):
    p = Project()
    _, answer = took("node_track.http", p.prv)
    assert answer["accepted"] == 2 and answer["eventsCreated"] == 2, answer
    events = {e["kind"]: e for e in P.ok(LIST, {}, key=p.prv)["events"]}
    # The SDK's own user agent says nothing about a browser; nothing else is added.
    for e in events.values():
        assert e["autoProperties"] == {"$lib": "pug-node", "$sdkVersion": "0.0.5", "$platform": "server"}, e
    assert events["order_paid"]["customProperties"]["amount"] == 12.5
    # It retries whole batches with the same ids.
    _, answer = took("node_track.http", p.prv)
    assert answer["accepted"] == 2 and answer.get("eventsCreated", 0) == 0, answer


def test_browser_sdk(_):
    p = Project()
    head, answer = took("browser_batch.http", p.pub)
    assert answer["accepted"] == 2, answer
    assert head["access-control-allow-origin"] == "https://www.shop.example", head
    for e in P.ok(LIST, {}, key=p.prv)["events"]:
        auto = e["autoProperties"]
        # What the SDK found out stays as it is ...
        assert auto["$browser"] == "Chrome" and auto["$osVersion"] == "15.0.0", auto
        assert auto.get("$device", "") == "" and auto["$utmCampaign"] == "May Sale", auto
        # ... and what it cannot know is added.
        assert auto["$channel"] == "Paid Search" and auto["$referrerDomain"] == "google.com", auto
        assert auto["$pathname"] == "/café" and auto["$hostname"] == "www.shop.example", auto
        assert auto["$screenSize"] == "1920x1080" and auto["$locale"] == "de-DE", auto


def test_browser_beacon(_):
    """`?api_key=`, no protocol header, credentials; the browser is not Chromium and so says nothing itself."""
    p = Project()
    head, answer = took("browser_beacon.http", p.pub)
    assert answer["accepted"] == 1, answer
    assert head["access-control-allow-credentials"] == "true", head
    assert head["access-control-allow-origin"] == "https://www.shop.example", head
    auto = P.ok(LIST, {}, key=p.prv)["events"][0]["autoProperties"]
    assert (auto["$browser"], auto["$browserVersion"], auto["$os"], auto["$osVersion"], auto["$device"],
            auto["$mobile"]) == ("Firefox Mobile", "127", "Android", "14", "Generic Smartphone", "true"), auto
    assert auto["$channel"] == "Direct" and "$referrerDomain" not in auto, auto
    # Sent again as the page goes away: known already.
    assert took("browser_beacon.http", p.pub)[1].get("eventsCreated", 0) == 0
    # A private key has no place in a URL.
    status, _, body = released_with_private(p)
    assert status == 401 and b"unauthenticated" in body, (status, body)


def released_with_private(p):
    with open(os.path.join(HERE, "fixtures/browser_beacon.http"), "rb") as f:
        data = f.read().replace(b"pub_" + b"0" * 40, p.prv.encode())
    with socket.create_connection((P.host, P.port), timeout=10) as s:
        s.sendall(data)
        answer = http.client.HTTPResponse(s)
        answer.begin()
        return answer.status, None, answer.read()


def run():
    global P, DATABASE
    variant = next((b for a, b in zip(sys.argv, sys.argv[1:]) if a == "--variant"), "test")
    with tempfile.TemporaryDirectory(prefix="pugt-") as folder:
        DATABASE = os.path.join(folder, "city.mmdb")
        mmdb.write(DATABASE, {"203.0.113.0/24": CITY, "2001:db8::/32": CITY,
                              "198.51.100.0/24": {"country": {"iso_code": "JP"}},
                              "192.0.2.0/24": {"city": {"names": {"en": b"M\xfcnchen"}},
                                               "country": {"iso_code": {"no": "text"}},
                                               "location": {"latitude": "north"}}})
        with pug.Pug(variant, options=[f"geo_database={DATABASE}"]) as P:
            test_events.P = test_accounts.P = P
            return pug.main([(k, f) for k, f in globals().items() if k.startswith("test_") and callable(f)])


if __name__ == "__main__":
    sys.exit(run())
