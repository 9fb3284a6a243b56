"""Writes small databases in MaxMind's format (version 2), so that tests need no download.

    mmdb.write(path, {"203.0.113.0/24": {"country": {"iso_code": "DE"}}})
"""
import ipaddress
import struct


class Uint16(int):
    """An int that is stored in 16 bits, as metro codes are."""


class Uint64(int):
    pass


def control(kind, size):
    first, more = (kind << 5, b"") if kind < 8 else (0, bytes([kind - 7]))
    if size < 29:
        return bytes([first | size]) + more
    assert size < 29 + 256
    return bytes([first | 29]) + more + bytes([size - 29])


def number(kind, n, most):
    data = int(n).to_bytes(most, "big").lstrip(b"\0")
    return control(kind, len(data)) + data


def encode(v):
    if isinstance(v, str):
        data = v.encode()
        return control(2, len(data)) + data
    if isinstance(v, bytes):  # text as it is, right or wrong
        return control(2, len(v)) + v
    if isinstance(v, float):
        return control(3, 8) + struct.pack(">d", v)
    if isinstance(v, Uint16):
        return number(5, v, 2)
    if isinstance(v, Uint64):
        return number(9, v, 8)
    if isinstance(v, int):
        return number(6, v, 4)
    if isinstance(v, dict):
        return control(7, len(v)) + b"".join(encode(k) + encode(x) for k, x in v.items())
    return control(11, len(v)) + b"".join(encode(x) for x in v)


def insert(tree, network, data):
    """IPv4 lies at ::/96, as in MaxMind's own databases."""
    net = ipaddress.ip_network(network)
    bits = net.prefixlen + (96 if net.version == 4 else 0)
    address, node = int(net.network_address), 0
    for i in range(bits):
        side = address >> (127 - i) & 1
        if i == bits - 1:
            tree[node][side] = ("data", data)
        elif tree[node][side] is None:
            tree.append([None, None])
            tree[node][side] = ("node", len(tree) - 1)
        if i < bits - 1:
            node = tree[node][side][1]


def write(path, networks):
    tree, data = [[None, None]], b""
    for network, value in networks.items():
        insert(tree, network, len(data))
        data += encode(value)

    def record(r):
        if r is None:
            return len(tree)
        return r[1] if r[0] == "node" else len(tree) + 16 + r[1]
    meta = {"node_count": len(tree), "record_size": Uint16(32), "ip_version": Uint16(6),
            "database_type": "GeoLite2-City", "languages": ["en"],
            "binary_format_major_version": Uint16(2), "binary_format_minor_version": Uint16(0),
            "build_epoch": Uint64(1700000000), "description": {"en": "test"}}
    with open(path, "wb") as f:
        for left, right in tree:
            f.write(struct.pack(">II", record(left), record(right)))
        f.write(b"\0" * 16 + data + b"\xab\xcd\xefMaxMind.com" + encode(meta))
