"""Exchanges a credential over gRPC with a client generated from proto/ at run time.

    exchange.py TARGET CA_PEM AUDIENCE --subject api_key|token|certificate
                [--certificate PEM --key PEM] [--scope S]... [--lifetime SECONDS] < credential

TARGET is host:port. The credential is the key's or the token's text; a certificate has none. Prints the
reply as JSON (proto3 mapping, field names kept) and exits 0, or prints {"refused": REASON, "status": NAME},
REASON being the one in google.rpc.ErrorInfo, and exits 3. Anything else that goes wrong is a traceback
and exit code 1.
"""

import argparse
import json
import sys
from pathlib import Path

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "proto"))
messages, services = grpc.protos_and_services("cambist/v1/exchange.proto")


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("target", "ca", "audience"):
        parser.add_argument(name)
    parser.add_argument("--subject", choices=("api_key", "token", "certificate"), required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--scope", action="append", default=[])
    parser.add_argument("--lifetime", type=int)
    return parser.parse_args()


def channel(given):
    def read(path):
        return Path(path).read_bytes() if path else None

    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(given.ca),
        private_key=read(given.key),
        certificate_chain=read(given.certificate),
    )
    return grpc.secure_channel(given.target, credentials, [("grpc.enable_http_proxy", 0)])


def request(given):
    ask = messages.ExchangeRequest(audience=given.audience, scopes=given.scope)
    if given.lifetime is not None:
        ask.lifetime.FromSeconds(given.lifetime)
    if given.subject == "api_key":
        ask.subject.api_key = sys.stdin.read().strip()
    elif given.subject == "token":
        ask.subject.token.value = sys.stdin.read().strip()
    else:
        ask.subject.peer_certificate.SetInParent()
    return ask


def reason(error):
    """The refusal's stable code. An error without one is not a refusal, and is raised."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        if detail.Unpack(info):
            assert info.domain == "cambist", info.domain
            return info.reason
    raise error


def main():
    given = arguments()
    with channel(given) as connection:
        try:
            reply = services.TokenExchangeStub(connection).Exchange(request(given), timeout=20)
        except grpc.RpcError as error:
            refused = {"refused": reason(error), "status": error.code().name, "detail": error.details()}
            print(json.dumps(refused))
            return 3
    print(json_format.MessageToJson(reply, preserving_proto_field_name=True, indent=None))
    return 0


if __name__ == "__main__":
    sys.exit(main())
