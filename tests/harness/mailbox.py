"""Mail servers for tests: SMTP (Debian's aiosmtpd), Resend's API, and their certificate.

    with tempfile.TemporaryDirectory() as folder:
        ca, context = certificate(folder)
        with SmtpServer(starttls=context, users={"u": "p"}) as server:
            ... server.port, server.mails[0].to, .message ...
"""
import asyncio
import email
import email.policy
import http.server
import json
import logging
import os
import ssl
import subprocess
import threading
import time

from aiosmtpd.smtp import SMTP, AuthResult

# It warns of AUTH without TLS, and of every client that leaves.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)
# Raises on every defect; CRLF is looked at before.
STRICT = email.policy.SMTP.clone(raise_on_defect=True)


def certificate(folder):
    """(PEM file, server context) of a fresh certificate for localhost and loopback addresses."""
    pem, key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1", "-keyout", key,
                    "-out", pem], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    return pem, context


def parse(raw):
    """The message, after checks that hold for every mail of ours."""
    assert raw.isascii() and b"\0" not in raw
    assert raw.replace(b"\r\n", b"").count(b"\r") == raw.replace(b"\r\n", b"").count(b"\n") == 0
    for line in raw.split(b"\r\n"):
        assert len(line) <= 78, line
    message = email.message_from_bytes(raw, policy=STRICT)
    assert not message.defects and message.is_multipart(), message.defects
    assert message.get_content_type() == "multipart/alternative"
    parts = list(message.iter_parts())
    assert [p.get_content_type() for p in parts] == ["text/plain", "text/html"]
    for name in ("Date", "Message-ID", "From", "To", "Subject", "MIME-Version", "X-Idempotency-Key"):
        assert len(message.get_all(name, [])) == 1, (name, message.items())
        assert not message[name].defects, (name, message[name].defects)
    assert message["Auto-Submitted"] == "auto-generated"
    assert abs(message["Date"].datetime.timestamp() - time.time()) < 600
    message.text, message.html = (p.get_content().replace("\r\n", "\n") for p in parts)
    return message


class Mail:
    def __init__(self, server, session, envelope):
        self.sender, self.to, self.raw = envelope.mail_from, envelope.rcpt_tos, envelope.content
        self.helo = session.host_name
        self.tls = server.transport.get_extra_info("ssl_object") is not None
        self.user = getattr(session, "user", None)
        self.message = parse(self.raw)


class SmtpServer:
    """replies: what DATA answers, one after the other, then 250. delay: seconds before that."""

    def __init__(self, tls=None, starttls=None, users=None, mechanism=None, replies=(), delay=0,
                 rcpt_reply=None, silent=False):
        self.mails, self.replies, self.delay = [], list(replies), delay
        self.silent, self.rcpt_reply = silent, rcpt_reply
        self.now = self.most = self.connections = 0
        self._tls, self._users = tls, users
        self._options = dict(hostname="mx.test", tls_context=starttls,
                             require_starttls=starttls is not None, auth_require_tls=False)
        if users is not None:
            other = {"PLAIN": ["LOGIN"], "LOGIN": ["PLAIN"]}.get(mechanism, [])
            self._options.update(auth_required=True, authenticator=self._sign_in,
                                 auth_exclude_mechanism=other)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def _sign_in(self, _server, session, _envelope, _mechanism, data):
        name = data.login.decode()
        if self._users.get(name) != data.password.decode():
            return AuthResult(success=False, handled=False,
                              message=f"535 5.7.8 {name} may not use {data.password.decode()} here")
        session.user = name
        return AuthResult(success=True)

    async def handle_EHLO(self, _server, session, _envelope, name, lines):
        session.host_name = name
        # aiosmtpd offers AUTH even where nobody may use it
        return [x for x in lines if self._users is not None or not x.startswith("250-AUTH")]

    async def handle_RCPT(self, _server, _session, envelope, address, options):
        if self.rcpt_reply:
            return self.rcpt_reply
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await asyncio.sleep(self.delay)
        finally:
            self.now -= 1
        if self.replies:
            return self.replies.pop(0)
        self.mails.append(Mail(server, session, envelope))
        return "250 OK"

    def _protocol(self):
        self.connections += 1
        if self.silent:
            return asyncio.Protocol()
        return SMTP(self, **self._options)

    def __enter__(self):
        self._thread.start()
        listen = self._loop.create_server(self._protocol, "127.0.0.1", 0, ssl=self._tls)
        self._server = asyncio.run_coroutine_threadsafe(listen, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        async def end():
            self._server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


class ResendServer:
    """answers: (status, object) one after the other, then 200 with an id. answer_to: the same
    for one Idempotency-Key, once."""

    def __init__(self, context):
        self.requests, self.answers, self.answer_to = [], [], {}
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.requests.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status, answer = outer.answer_to.pop(self.headers["idempotency-key"], None) or (
                    outer.answers.pop(0) if outer.answers else (200, {"id": "r-1"}))
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True,
                                                  do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{self._server.server_address[1]}/emails"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)
