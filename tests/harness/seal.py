"""Secrets at rest as the server seals them (worker/call/seal.h), for rows that tests write.

    seal(credential, "pugd mail link v1", dispatch_id, b"token")

OpenSSL's AES-GCM through ctypes: Debian's Python has no cipher of its own.
"""
import ctypes
import ctypes.util
import hashlib
import hmac
import os

MAIL, PROVIDER = "pugd mail link v1", "pugd provider secret v1"
GET_TAG, SET_TAG, NONCE, TAG = 0x10, 0x11, 12, 16

_crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
for _name in ("EVP_CIPHER_CTX_new", "EVP_aes_256_gcm"):
    getattr(_crypto, _name).restype = ctypes.c_void_p


def _hkdf(secret, label):
    first = hmac.new(bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(first, label.encode() + b"\x01", hashlib.sha256).digest()


def _gcm(encrypt, key, nonce, bound, text, tag=None):
    """(output, tag); raises when the tag is wrong."""
    ctx = ctypes.c_void_p(_crypto.EVP_CIPHER_CTX_new())
    out, n = ctypes.create_string_buffer(len(text) + 16), ctypes.c_int()
    try:
        _crypto.EVP_CipherInit_ex(ctx, ctypes.c_void_p(_crypto.EVP_aes_256_gcm()), None, key, nonce,
                                  int(encrypt))
        _crypto.EVP_CipherUpdate(ctx, None, ctypes.byref(n), bound, len(bound))
        _crypto.EVP_CipherUpdate(ctx, out, ctypes.byref(n), text, len(text))
        if not encrypt:
            _crypto.EVP_CIPHER_CTX_ctrl(ctx, SET_TAG, TAG, ctypes.create_string_buffer(tag, TAG))
        if _crypto.EVP_CipherFinal_ex(ctx, None, ctypes.byref(n)) != 1:
            raise ValueError("these bytes were not sealed by this key for this row")
        made = ctypes.create_string_buffer(TAG)
        if encrypt:
            _crypto.EVP_CIPHER_CTX_ctrl(ctx, GET_TAG, TAG, made)
        return out.raw[:len(text)], made.raw
    finally:
        _crypto.EVP_CIPHER_CTX_free(ctx)


def seal(credential, label, bound, text):
    key, nonce = _hkdf(credential, label), os.urandom(NONCE)
    sealed, tag = _gcm(True, key, nonce, bound.encode(), text)
    return hashlib.sha256(key).digest()[:1] + nonce + sealed + tag


def unseal(credential, label, bound, sealed):
    key = _hkdf(credential, label)
    if sealed[:1] != hashlib.sha256(key).digest()[:1]:
        raise ValueError("sealed by another key")
    return _gcm(False, key, sealed[1:1 + NONCE], bound.encode(), sealed[1 + NONCE:-TAG],
                sealed[-TAG:])[0]
