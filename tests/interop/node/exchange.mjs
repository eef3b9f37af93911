// Exchanges a credential over gRPC with a client that reads proto/ at run time.
//
//     node exchange.mjs TARGET CA_PEM AUDIENCE --subject api_key|token|certificate
//                       [--certificate PEM --key PEM] [--scope S]... [--lifetime SECONDS] < credential
//
// TARGET is host:port. The credential is the key's or the token's text; a certificate has none. Prints the
// reply as JSON (field names kept) and exits 0, or prints {"refused": REASON, "status": NAME}, REASON being
// the one in google.rpc.ErrorInfo, and exits 3. Anything else exits 1.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { load, standardInput } from './tools.mjs';

const { default: grpc } = await load('@grpc/grpc-js');
const { default: loader } = await load('@grpc/proto-loader');
const { default: protobuf } = await load('protobufjs');

const { values: given, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    subject: { type: 'string' },
    certificate: { type: 'string' },
    key: { type: 'string' },
    scope: { type: 'string', multiple: true, default: [] },
    lifetime: { type: 'string' },
  },
});
const [target, ca, audience] = positionals;

function service() {
  const root = fileURLToPath(new URL('../../../proto', import.meta.url));
  const definition = loader.loadSync('cambist/v1/exchange.proto', {
    includeDirs: [root],
    keepCase: true,
    longs: String,
    enums: String,
    defaults: true,
  });
  return grpc.loadPackageDefinition(definition).cambist.v1.TokenExchange;
}

async function subject() {
  switch (given.subject) {
    case 'api_key':
      return { api_key: await standardInput() };
    case 'token':
      return { token: { value: await standardInput() } };
    case 'certificate':
      return { peer_certificate: {} };
    default:
      throw new Error(`--subject ${given.subject} is none of api_key, token, certificate`);
  }
}

// What gRPC errors carry in their trailer; the libraries ship no schema of it.
const details = protobuf.parse(`
  syntax = "proto3";
  message Any { string typeUrl = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; }
`).root;

// The refusal's stable code. An error without one is not a refusal, and is thrown.
function reason(error) {
  const [trailer] = error.metadata.get('grpc-status-details-bin');
  if (!trailer) throw error;
  const status = details.lookupType('Status').decode(trailer);
  const info = status.details.find((each) => each.typeUrl.endsWith('/google.rpc.ErrorInfo'));
  if (!info) throw error;
  const { reason, domain } = details.lookupType('ErrorInfo').decode(info.value);
  assert.equal(domain, 'cambist');
  return reason;
}

const read = (path) => (path ? readFileSync(path) : null);
const credentials = grpc.credentials.createSsl(read(ca), read(given.key), read(given.certificate));
const client = new (service())(target, credentials, { 'grpc.enable_http_proxy': 0 });
const ask = { subject: await subject(), audience, scopes: given.scope };
if (given.lifetime) ask.lifetime = { seconds: given.lifetime };

client.Exchange(ask, { deadline: Date.now() + 20_000 }, (error, reply) => {
  client.close();
  if (error) {
    const refused = { refused: reason(error), status: grpc.status[error.code], detail: error.details };
    console.log(JSON.stringify(refused));
    process.exitCode = 3;
    return;
  }
  console.log(JSON.stringify(reply));
});
