/** Golden inputs: files whose name says what they are, hexadecimal for octets and as it is for text. */
import { readdirSync, readFileSync } from 'node:fs';

export interface Specimen {
  /** File name without its ending. */
  readonly name: string;
  readonly octets: Uint8Array;
}

/** All of test/fuzz/corpus/`folder` that end so, by name. */
export function corpus(folder: string, ending = ''): Specimen[] {
  const url = new URL(`./corpus/${folder}/`, import.meta.url);
  return readdirSync(url)
    .filter((file) => file.endsWith(ending))
    .sort()
    .map((file) => {
      const raw = readFileSync(new URL(file, url));
      const hex = file.endsWith('.hex');
      const octets = hex ? Buffer.from(raw.toString('latin1').replace(/\s/g, ''), 'hex') : raw;
      return { name: file.replace(/\.[a-z]+$/, ''), octets: Uint8Array.from(octets) };
    });
}
