"""Verifies an access token as a stranger would: with PyJWT, knowing only the published metadata URL.

    verify.py METADATA_URL CA_PEM AUDIENCE < token

Prints the verified claims as JSON and exits 0, or prints {"refused": NAME}, where NAME is the library's
own name for what is wrong, and exits 3. Anything else that goes wrong is a traceback and exit code 1.
"""

import json
import ssl
import sys
import urllib.request
from urllib.parse import urlsplit

import jwt

ALGORITHMS = ["ES256", "EdDSA", "RS256"]
REQUIRED = ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"]  # RFC 9068 section 2.2


def well_known(issuer):
    """Where an issuer's metadata may be: RFC 8414 section 3.1, OpenID Connect Discovery section 4."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    inserted = f"/.well-known/oauth-authorization-server{path}"
    appended = f"{path}/.well-known/openid-configuration"
    return [parts._replace(path=each).geturl() for each in (inserted, appended)]


def metadata(url, tls):
    with urllib.request.urlopen(url, timeout=10, context=tls) as reply:
        content_type = reply.headers.get_content_type()
        found = json.load(reply)
    # RFC 8414 sections 3.2 and 3.3: otherwise one issuer could speak for another.
    assert content_type == "application/json", content_type
    assert url in well_known(found["issuer"]), found["issuer"]
    return found


def verify(token, url, tls, audience):
    found = metadata(url, tls)
    keys = jwt.PyJWKClient(found["jwks_uri"], ssl_context=tls, timeout=10)
    verified = jwt.decode_complete(
        token,
        keys.get_signing_key_from_jwt(token),
        algorithms=ALGORITHMS,
        audience=audience,
        issuer=found["issuer"],
        options={"require": REQUIRED, "strict_aud": True},
    )
    # RFC 9068 section 4; the library leaves the type to its caller.
    if verified["header"].get("typ") not in ("at+jwt", "application/at+jwt"):
        raise jwt.InvalidTokenError("typ is not at+jwt")
    return verified["payload"]


def main():
    _, url, ca, audience = sys.argv
    token = sys.stdin.read().strip()
    try:
        answer = verify(token, url, ssl.create_default_context(cafile=ca), audience)
    except jwt.PyJWKClientConnectionError:
        raise  # a network that fails is not a token that is refused
    except jwt.PyJWTError as error:
        print(json.dumps({"refused": type(error).__name__, "detail": str(error)}))
        return 3
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
