"""Links out of the mail outbox, for tests that need the link and not the mail.

The link's token is sealed there (worker/call/seal.h) under a key of the credential file
(worker/call/keys.h), so this opens it with the credential file, as the sender does. A sent
mail has no secret any more: start pugd with WAITING and call hold().
"""
import ctypes
import ctypes.util
import hashlib
import hmac
import os

# Nobody listens there: mail waits in the outbox and is tried again.
WAITING = ["mail_dir=", "mail_url=smtp://127.0.0.1:1", "mail_from=pug@example.com"]


def hold(pug):
    """No sender takes what is written from now on, so that its secret stays."""
    pug.psql("CREATE FUNCTION pugd.test_hold() RETURNS trigger LANGUAGE plpgsql AS "
             "'BEGIN NEW.next_at := ''infinity''; RETURN NEW; END'")
    pug.psql("CREATE TRIGGER test_hold BEFORE INSERT ON pugd.mail_outbox "
             "FOR EACH ROW EXECUTE FUNCTION pugd.test_hold()")


def derive(secret, label, n=32):
    """HKDF-SHA256 without salt."""
    prk = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    out, block, i = b"", b"", 1
    while len(out) < n:
        block = hmac.new(prk, block + label + bytes([i]), hashlib.sha256).digest()
        out, i = out + block, i + 1
    return out[:n]


def gcm_open(key, nonce, bound, text, tag):
    """AES-256-GCM through libcrypto; None when it was not sealed like this."""
    lib = ctypes.CDLL(ctypes.util.find_library("crypto"))
    for name in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm"):
        getattr(lib, name).restype = ctypes.c_void_p
    ctx = ctypes.c_void_p(lib.EVP_CIPHER_CTX_new())
    out, n = ctypes.create_string_buffer(len(text) + 16), ctypes.c_int()
    try:
        lib.EVP_DecryptInit_ex(ctx, ctypes.c_void_p(lib.EVP_aes_256_gcm()), None, key, nonce)
        lib.EVP_DecryptUpdate(ctx, None, ctypes.byref(n), bound, len(bound))
        lib.EVP_DecryptUpdate(ctx, out, ctypes.byref(n), text, len(text))
        lib.EVP_CIPHER_CTX_ctrl(ctx, 0x11, len(tag), tag)
        good = lib.EVP_DecryptFinal_ex(ctx, ctypes.byref(ctypes.c_char.from_buffer(out, len(text))),
                                       ctypes.byref(n))
        return out.raw[:len(text)] if good == 1 else None
    finally:
        lib.EVP_CIPHER_CTX_free(ctx)


def outbox_tokens(pug, email):
    """Tokens of the links that wait to be mailed to an address, oldest first."""
    with open(os.path.join(pug.data, "credential"), "rb") as f:
        key = derive(f.read(), b"pugd mail link v1")
    rows = pug.psql("SELECT id, token_hash, secret FROM pugd.mail_outbox WHERE secret IS NOT NULL "
                    f"AND lower(recipient) = lower('{email}') ORDER BY create_time, id")
    tokens = []
    for mail_id, digest, secret in rows:
        raw = bytes.fromhex(secret[2:])
        assert raw[0] == hashlib.sha256(key).digest()[0], "sealed with another key"
        text = gcm_open(key, raw[1:13], mail_id.encode(), raw[13:-16], raw[-16:])
        assert text is not None, "not what was sealed"
        assert hashlib.sha256(text).hexdigest() == digest[2:], "not the token of its hash"
        tokens.append(text.decode())
    return tokens
