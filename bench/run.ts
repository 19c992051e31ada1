// SPDX-License-Identifier: MIT
/** `npm run bench -- NAME`: the side-by-side comparisons. There is none in this version. */

const name = process.argv.slice(2).find((argument) => !argument.startsWith('-'));
if (name === undefined) {
  console.log('There are no benches yet.');
} else {
  console.error(`bench: there is no bench '${name}', and no other one yet.`);
  process.exitCode = 2;
}
