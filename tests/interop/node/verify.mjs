// Verifies an access token as a stranger would: with jose, knowing only the published metadata URL.
//
//     NODE_EXTRA_CA_CERTS=CA_PEM node verify.mjs METADATA_URL AUDIENCE < token
//
// Prints the verified claims as JSON and exits 0, or prints {"refused": CODE}, where CODE is the library's
// own code for what is wrong (and the claim, if it is one), and exits 3. Anything else exits 1.

import assert from 'node:assert/strict';
import { load, standardInput } from './tools.mjs';

const { createRemoteJWKSet, jwtVerify, errors } = await load('jose');
const REQUIRED = ['iss', 'exp', 'aud', 'sub', 'client_id', 'iat', 'jti']; // RFC 9068 section 2.2

// Where an issuer's metadata may be: RFC 8414 section 3.1, OpenID Connect Discovery section 4.
function wellKnown(issuer) {
  const { origin, pathname } = new URL(issuer);
  const path = pathname.replace(/\/$/, '');
  return [
    `${origin}/.well-known/oauth-authorization-server${path}`,
    `${origin}${path}/.well-known/openid-configuration`,
  ];
}

async function metadata(url) {
  const reply = await fetch(url, { redirect: 'error', signal: AbortSignal.timeout(10_000) });
  assert.equal(reply.status, 200);
  assert.match(reply.headers.get('content-type'), /^application\/json\b/);
  const found = await reply.json();
  // RFC 8414 section 3.3: otherwise one issuer could speak for another.
  assert.ok(wellKnown(found.issuer).includes(url), found.issuer);
  return found;
}

const [url, audience] = process.argv.slice(2);
const token = await standardInput();
const { issuer, jwks_uri: keys } = await metadata(url);
try {
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(keys)), {
    algorithms: ['ES256', 'EdDSA', 'RS256'],
    audience,
    issuer,
    requiredClaims: REQUIRED,
    typ: 'at+jwt',
  });
  console.log(JSON.stringify(payload));
} catch (error) {
  // Keys that cannot be had are not a token that is refused. The generic code is for an answer that is none.
  const network = ['ERR_JWKS_TIMEOUT', 'ERR_JWKS_INVALID', 'ERR_JOSE_GENERIC'].includes(error.code);
  if (!(error instanceof errors.JOSEError) || network) throw error;
  const refused = [error.code, error.claim].filter(Boolean).join(':');
  console.log(JSON.stringify({ refused, detail: error.message }));
  process.exitCode = 3;
}
