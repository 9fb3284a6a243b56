"""An identity provider that lies on request, keys and tokens for it, and a browser that signs in."""
import base64
import hashlib
import hmac
import html
import http.client
import http.server
import json
import os
import re
import socket
import subprocess
import threading
import time
import urllib.parse

import pug


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """An RSA key. Signing is arithmetic; openssl only makes the numbers."""
    PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")
    PREFIX_512 = bytes.fromhex("3051300d060960864801650304020305000440")

    def __init__(self, kid, bits=2048):
        pem = subprocess.run(["openssl", "genrsa", "-traditional", str(bits)], capture_output=True,
                             check=True).stdout
        text = subprocess.run(["openssl", "rsa", "-noout", "-text"], input=pem, capture_output=True,
                              check=True).stdout.decode()
        self.public_pem = subprocess.run(["openssl", "rsa", "-pubout"], input=pem,
                                         capture_output=True, check=True).stdout
        self.kid = kid
        self.n, self.d = (int(re.search(name + r":\n((?:\s+[0-9a-f:]+\n)+)", text).group(1)
                              .translate({58: None, 32: None, 10: None}), 16)
                          for name in ("modulus", "privateExponent"))

    def raw_sign(self, data, digest="sha256"):
        size = (self.n.bit_length() + 7) // 8
        prefix = self.PREFIX if digest == "sha256" else self.PREFIX_512
        info = prefix + hashlib.new(digest, data).digest()
        padded = b"\0\1" + b"\xff" * (size - len(info) - 3) + b"\0" + info
        return pow(int.from_bytes(padded, "big"), self.d, self.n).to_bytes(size, "big")

    def jwk(self, **extra):
        n = self.n.to_bytes((self.n.bit_length() + 7) // 8, "big")
        key = {"kty": "RSA", "n": b64(n), "e": "AQAB", "kid": self.kid, "use": "sig", "alg": "RS256"}
        key.update(extra)
        return {k: v for k, v in key.items() if v is not None}

    def token(self, claims, alg="RS256", **header):
        head = {"alg": alg, "typ": "JWT", "kid": self.kid}
        head.update(header)
        text = ".".join(b64(json.dumps({k: v for k, v in part.items() if v is not None}).encode())
                        for part in (head, claims))
        if alg == "none":
            return text + "."
        if alg.startswith("HS"):
            return text + "." + b64(hmac.new(self.public_pem, text.encode(), "sha256").digest())
        digest = "sha512" if alg == "RS512" else "sha256"
        return text + "." + b64(self.raw_sign(text.encode(), digest))


class Forge:
    """Discovery, keys and tokens as the attributes say; what was asked is counted."""

    def __init__(self, key):
        self.keys = [key.jwk()]
        self.document = {}      # changes the discovery document
        self.answers = {}       # path -> (status, headers, bytes) instead of the true answer
        self.codes = {}         # code -> id token, or (status, object)
        self.forms = []         # what the token endpoint was sent, with its Authorization
        self.max_age = 3600
        self.delay = 0
        self.asked = {}
        forge = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def reply(self, status, headers, body):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                forge.asked[self.path] = forge.asked.get(self.path, 0) + 1
                time.sleep(forge.delay)
                self.reply(*forge.answer(self.path))

            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self.reply(*forge.answer_post(self.path, dict(urllib.parse.parse_qsl(form)),
                                              self.headers.get("Authorization")))

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):
                pass  # a client that has read enough hangs up

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05},
                         daemon=True).start()

    DISCOVERY = "/.well-known/openid-configuration"

    def answer(self, path):
        if path in self.answers:
            return self.answers[path]
        body = {self.DISCOVERY: {"issuer": self.url, "jwks_uri": self.url + "/keys",
                                 "token_endpoint": self.url + "/token", **self.document},
                "/keys": {"keys": self.keys}}.get(path)
        if body is None:
            return 404, {}, b"{}"
        cache = {} if self.max_age is None else {"Cache-Control": f"public, max-age={self.max_age}"}
        return 200, {"Content-Type": "application/json", **cache}, json.dumps(body).encode()

    def answer_post(self, path, form, authorization):
        self.forms.append((form, authorization))
        if path in self.answers:
            return self.answers[path]
        result = self.codes.get(form.get("code"), (400, {"error": "invalid_grant"}))
        if isinstance(result, str):
            result = 200, {"access_token": "at", "token_type": "Bearer", "id_token": result}
        return result[0], {"Content-Type": "application/json"}, json.dumps(result[1]).encode()

    def fail(self, status=500):
        for path in (self.DISCOVERY, "/keys"):
            self.answers[path] = status, {}, b"{}"

    def close(self):
        self.server.shutdown()
        self.server.server_close()


CLOSED = socket.socket()  # bound and never listening, so that nobody gets its port


def closed_url():
    """Of an issuer that cannot be reached."""
    CLOSED.bind(("127.0.0.1", 0))
    return f"http://127.0.0.1:{CLOSED.getsockname()[1]}"


class Browser:
    """Follows the redirects and fills in the forms of oidc-provider's own pages."""

    def __init__(self, issuer):
        self.host = urllib.parse.urlsplit(issuer).netloc
        self.cookies = {}

    def request(self, method, path, form=None):
        conn = http.client.HTTPConnection(self.host, timeout=20)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if form:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        conn.request(method, path, urllib.parse.urlencode(form) if form else None, headers)
        answer = conn.getresponse()
        text = answer.read().decode()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.split(";")[0]
        conn.close()
        return answer.status, answer.getheader("Location"), text

    def sign_in(self, login, **query):
        """The parameters that come back to the redirect URI."""
        target, form = "/auth?" + urllib.parse.urlencode(query), None
        for _ in range(12):
            status, location, text = self.request("POST" if form else "GET", target, form)
            form = None
            if status in (302, 303):
                parts = urllib.parse.urlsplit(location)
                if parts.path == "/oauth/callback":
                    return dict(urllib.parse.parse_qsl(parts.query))
                target = parts.path + ("?" + parts.query if parts.query else "")
                continue
            assert status == 200, (status, text[:500])
            action = re.search(r'<form[^>]*action="([^"]+)"', text)
            target = urllib.parse.urlsplit(html.unescape(action.group(1))).path
            prompt = re.search(r'name="prompt" value="(\w+)"', text).group(1)
            form = {"prompt": prompt}
            if prompt == "login":
                form.update(login=login, password="anything")
        raise AssertionError("the sign-in does not end")


def real_provider(callback, secret):
    """oidc-provider as a process, which ends with its standard input; and its issuer."""
    script = os.path.join(pug.TOP, "tests/oidc/provider.mjs")
    node = subprocess.Popen(["node", script, callback, secret], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return node, json.loads(node.stdout.readline())["issuer"]
