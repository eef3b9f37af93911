"""Queries the audit log over gRPC with a client generated from proto/ at run time.

    audit.py TARGET CA_PEM [--certificate PEM --key PEM] [--kind KIND]... [--newest] [--limit COUNT]

TARGET is host:port. Prints {"records": [...]}, each parsed from its line, and exits 0, or prints {"refused": REASON,
"status": NAME}, REASON being the one in google.rpc.ErrorInfo, and exits 3. Anything else that goes wrong is a
traceback and exit code 1.
"""

import argparse
import json
import sys

import grpc

from exchange import channel, reason

messages, services = grpc.protos_and_services("cambist/v1/audit.proto")


def arguments():
    parser = argparse.ArgumentParser()
    for name in ("target", "ca"):
        parser.add_argument(name)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--kind", action="append", default=[])
    parser.add_argument("--newest", action="store_true")
    parser.add_argument("--limit", type=int, default=0)
    return parser.parse_args()


def parsed(answer):
    assert not answer.problem, answer.problem
    record = json.loads(answer.record.line)
    assert record["seq"] == answer.record.sequence
    return record


def main():
    given = arguments()
    request = messages.QueryRequest(newest_first=given.newest, limit=given.limit)
    request.filter.kinds.extend(given.kind)
    with channel(given) as connection:
        try:
            answers = services.AuditStub(connection).Query(request, timeout=20)
            records = [parsed(answer) for answer in answers]
        except grpc.RpcError as error:
            refused = {"refused": reason(error), "status": error.code().name}
            print(json.dumps(refused))
            return 3
    print(json.dumps({"records": records}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
