// Calls servers with proofs of possession (RFC 9449) that the dpop package makes.
//
//     node dpop.mjs key ALG
//     NODE_EXTRA_CA_CERTS=CA_PEM node dpop.mjs web URL < {"key", "alg", "token"}
//     NODE_EXTRA_CA_CERTS=CA_PEM node dpop.mjs grpc ORIGIN < {"key", "alg", "token"}
//
// key prints a new private key as a JWK, and the thumbprint that a token is bound to it by. The others call with the
// token: with a good proof, with the same one again, with one for another URL, with none, and as a bearer token; and print
// what became of each, by name. They exit 0 whatever was answered, and 1 if there was no answer.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { load, standardInput } from './tools.mjs';

const { calculateThumbprint, generateKeyPair, generateProof } = await load('dpop');
const { importJWK } = await load('jose');

const [what, at] = process.argv.slice(2);

async function newKey() {
  const { privateKey, publicKey } = await generateKeyPair(at, { extractable: true });
  const key = await crypto.subtle.exportKey('jwk', privateKey);
  return { key, thumbprint: await calculateThumbprint(publicKey) };
}

// The pair that a private JWK is of.
async function pair({ key, alg }) {
  const { d, p, q, dp, dq, qi, key_ops, ...rest } = key;
  const imported = (jwk) => importJWK(jwk, alg, { extractable: true });
  return { privateKey: await imported({ ...rest, d, p, q, dp, dq, qi }), publicKey: await imported(rest) };
}

async function web(headers) {
  const signal = AbortSignal.timeout(20_000);
  const reply = await fetch(at, { headers, redirect: 'error', signal });
  const challenge = reply.headers.get('www-authenticate');
  return { status: reply.status, challenge, text: await reply.text() };
}

async function dial() {
  const { default: grpc } = await load('@grpc/grpc-js');
  const { default: loader } = await load('@grpc/proto-loader');
  const root = fileURLToPath(new URL('../../../proto', import.meta.url));
  const definition = loader.loadSync('cambist/v1/exchange.proto', { includeDirs: [root], keepCase: true });
  const { TokenExchange } = grpc.loadPackageDefinition(definition).cambist.v1;
  const credentials = grpc.credentials.createSsl(readFileSync(process.env.NODE_EXTRA_CA_CERTS));
  const client = new TokenExchange(new URL(at).host, credentials, { 'grpc.enable_http_proxy': 0 });
  const call = (headers) =>
    new Promise((resolve) => {
      const metadata = new grpc.Metadata();
      for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
      client.Explain({}, metadata, { deadline: Date.now() + 20_000 }, (error) => {
        const [challenge = null] = error?.metadata.get('www-authenticate') ?? [];
        resolve({ status: grpc.status[error?.code ?? 0], challenge, text: error?.details ?? '' });
      });
    });
  return { call, close: () => client.close() };
}

async function calls() {
  const given = JSON.parse(await standardInput());
  const keys = await pair(given);
  const { call, close } = what === 'web' ? { call: web, close() {} } : await dial();
  const [url, method] =
    what === 'web' ? [at, 'GET'] : [`${at}/cambist.v1.TokenExchange/Explain`, 'POST'];
  const proof = (htu) => generateProof(keys, htu, method, undefined, given.token);
  const authorization = `DPoP ${given.token}`;
  const dpop = await proof(url);
  const answers = {
    good: await call({ authorization, dpop }),
    again: await call({ authorization, dpop }),
    elsewhere: await call({ authorization, dpop: await proof(`${url}/more`) }),
    without: await call({ authorization }),
    bearer: await call({ authorization: `Bearer ${given.token}`, dpop: await proof(url) }),
    another: await call({ authorization, dpop: await proof(url) }),
  };
  close();
  return answers;
}

console.log(JSON.stringify(what === 'key' ? await newKey() : await calls()));
