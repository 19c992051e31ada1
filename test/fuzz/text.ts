/** Text changed as whoever writes it changes it: word by word, and now and then octet by octet. */
import type { Dice } from './dice.js';
import { mutated } from './mutate.js';

const ENCODER = new TextEncoder();
const MARKS = ['{', '}', '\n', '"', '#', '!', '\\', '{\n', '}\n'];

type Mutation = (pieces: string[], at: number, dice: Dice, from: Sources) => void;

export interface Sources {
  /** Whole texts, of which parts are taken. */
  readonly texts: readonly string[];
  readonly words: readonly string[];
}

const MUTATIONS: readonly Mutation[] = [
  (pieces, at, dice) => {
    pieces.splice(at, 1 + dice.below(4));
  },
  (pieces, at, dice, { words }) => {
    pieces.splice(at, 0, dice.pick(words), ' ');
  },
  (pieces, at, dice, { words }) => {
    pieces.splice(at, 1, dice.pick(words));
  },
  (pieces, at, dice) => {
    pieces.splice(at, 0, dice.pick(MARKS));
  },
  (pieces, at, dice) => {
    pieces.splice(at, 1, misspelt(pieces[at] ?? '', dice));
  },
  // a part stands there twice
  (pieces, at, dice) => {
    pieces.splice(at, 0, ...pieces.slice(at, at + 1 + dice.below(8)));
  },
  // a part of another text, in the place of one of this
  (pieces, at, dice, { texts }) => {
    const other = cut(dice.pick(texts));
    const from = dice.below(other.length);
    pieces.splice(at, dice.below(4), ...other.slice(from, from + 1 + dice.below(12)));
  },
];

/** One to four changes. */
export function mutatedText(text: string, dice: Dice, from: Sources): string {
  if (dice.chance(0.2)) {
    const [octets, other] = [text, dice.pick(from.texts)].map((one) => ENCODER.encode(one));
    return new TextDecoder().decode(mutated(octets, dice, [other]));
  }
  const pieces = cut(text);
  for (let left = 1 + dice.below(4); left > 0; left--) {
    dice.pick(MUTATIONS)(pieces, dice.below(pieces.length + 1), dice, from);
  }
  return pieces.join('');
}

/** Words, and what stands between them. */
function cut(text: string): string[] {
  return text.split(/(\s+|[{}"])/);
}

function misspelt(word: string, dice: Dice): string {
  const at = dice.below(word.length + 1);
  const code = dice.chance(0.1) ? dice.below(0x300) : 0x20 + dice.below(0x60);
  return word.slice(0, at) + String.fromCharCode(code) + word.slice(at + dice.below(2));
}
