// The packages that tests/setup installed: they are under target/, where Node would not look for them.

import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const home = createRequire(new URL('../../../target/tools/node/', import.meta.url));

export const load = (name) => import(pathToFileURL(home.resolve(name)).href);

export async function standardInput() {
  let text = '';
  for await (const chunk of process.stdin) text += chunk;
  return text.trim();
}
