// SPDX-License-Identifier: MIT
/** How many of the two programs hang on each interface that is named, as JSON. */
import { DIRECTIONS, wayOf } from '../../kernel/attachment.js';
import { libc } from '../../kernel/native.js';

const counts = process.argv.slice(2).map((name) => {
  const ifindex: number = libc.ifNameToIndex(name);
  if (!ifindex) return 0;
  return DIRECTIONS.filter((direction) => wayOf(ifindex).find(ifindex, direction)).length;
});
console.log(JSON.stringify(counts));
