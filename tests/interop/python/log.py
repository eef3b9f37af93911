"""Reads a log as a stranger would (C2SP tlog-tiles), and checks it, with nothing but the standard library and Ed25519.

    log.py fetch BASE CA_PEM CERT_PEM KEY_PEM DIR     over HTTPS, into files named like their paths
    log.py verify DIR VKEY [EARLIER_CHECKPOINT]       from those files alone

`verify` prints {"size", "records": [...]} and exits 0, or prints {"refused": NAME} and exits 3. Anything else that goes
wrong is a traceback and exit code 1.
"""

import base64
import hashlib
import json
import pathlib
import ssl
import sys
import urllib.request

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


class Refused(Exception):
    pass


def need(holds, name):
    if not holds:
        raise Refused(name)


def node(left, right):
    return hashlib.sha256(b"\x01" + left + right).digest()


def leaf(entry):
    return hashlib.sha256(b"\x00" + entry).digest()


def root(hashes):
    """RFC 6962 section 2.1, over hashes of leaves or of complete subtrees."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    half = 1 << (len(hashes) - 1).bit_length() - 1
    return node(root(hashes[:half]), root(hashes[half:]))


def path(kind, index, width):
    groups = []
    while True:
        groups.insert(0, f"{index % 1000:03}")
        index //= 1000
        if not index:
            break
    name = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
    return f"tile/{kind}/{name}" + ("" if width == 256 else f".p/{width}")


def tiles(kind, count):
    for index in range((count + 255) // 256):
        yield path(kind, index, min(256, count - 256 * index))


def resources(size):
    level, count = 0, size
    while count:
        yield from tiles(level, count)
        level, count = level + 1, count // 256
    yield from tiles("entries", size)


def opened(note, vkey):
    """A checkpoint's size and root, if the key signed it (C2SP signed-note, tlog-checkpoint)."""
    name, key_id, key = vkey.split("+", 2)
    key = base64.b64decode(key)
    assert key[0] == 1 and hashlib.sha256(name.encode() + b"\n" + key).digest()[:4].hex() == key_id
    text, _, signatures = note.rpartition("\n\n")
    signed = False
    for line in signatures.splitlines():
        dash, signer, signature = line.split(" ")
        signature = base64.b64decode(signature)
        if dash == "\u2014" and signer == name and signature[:4].hex() == key_id:
            try:
                Ed25519PublicKey.from_public_bytes(key[1:]).verify(signature[4:], (text + "\n").encode())
            except InvalidSignature:
                raise Refused("note") from None
            signed = True
    need(signed, "note")
    origin, size, hashed = text.split("\n")[:3]
    need(origin == name, "note")
    return int(size), base64.b64decode(hashed)


def fetch(base, ca, cert, key, folder):
    tls = ssl.create_default_context(cafile=ca)
    tls.load_cert_chain(cert, key)

    def get(name):
        with urllib.request.urlopen(f"{base}/{name}", timeout=30, context=tls) as reply:
            body, kind = reply.read(), reply.headers.get_content_type()
        assert kind == ("application/octet-stream" if name.startswith("tile/") else "text/plain"), kind
        target = pathlib.Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(body)
        return body.decode(errors="replace")

    vkey = get("vkey").strip()
    size, _ = opened(get("checkpoint"), vkey)
    for name in resources(size):
        get(name)
    return {"size": size, "vkey": vkey}


def hashes(folder, level, count):
    found = []
    for name in tiles(level, count):
        body = pathlib.Path(folder, name).read_bytes()
        need(len(body) % 32 == 0, "tile")
        found += [body[at : at + 32] for at in range(0, len(body), 32)]
    need(len(found) == count, "tile")
    return found


def entries(folder, size):
    found = []
    for name in tiles("entries", size):
        body = pathlib.Path(folder, name).read_bytes()
        while body:
            length = int.from_bytes(body[:2], "big")
            need(len(body) >= 2 + length, "entries")
            found.append(body[2 : 2 + length])
            body = body[2 + length :]
    return found


def verify(folder, vkey, earlier=None):
    note = pathlib.Path(folder, "checkpoint").read_text()
    size, signed = opened(note, vkey)
    if earlier:
        old, was = opened(pathlib.Path(earlier).read_text(), vkey)
        need(old <= size, "rolled back")
    row = leaves = hashes(folder, 0, size)
    need(root(leaves) == signed, "root")
    level, count = 0, size
    while count // 256:
        level, count = level + 1, count // 256
        above = hashes(folder, level, count)
        need(above == [root(row[256 * at : 256 * at + 256]) for at in range(count)], "tile")
        row = above
    found = entries(folder, size)
    need([leaf(entry) for entry in found] == leaves, "entries")
    if earlier:
        need(root(leaves[:old]) == was, "forked")
    return {"size": size, "records": [json.loads(entry) for entry in found]}


def main():
    _, verb, *rest = sys.argv
    try:
        answer = {"fetch": fetch, "verify": verify}[verb](*rest)
    except Refused as refused:
        print(json.dumps({"refused": str(refused)}))
        return 3
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
