// Types of arguments. Each parses one word, and says in words what it expects.
import { isIPv4, isIPv6 } from 'node:net';

/** `undefined` from parse means: not such a value. */
export interface ValueType<T> {
  readonly expected: string;
  parse(text: string): T | undefined;
  /** Why a value that is known is refused all the same. */
  refused?(text: string): string | undefined;
}

function type<T>(expected: string, parse: (text: string) => T | undefined): ValueType<T> {
  return { expected, parse };
}

/** Any word or quoted string that is not empty. */
export const word = type('a word', (text) => (text === '' ? undefined : text));

/** Names that end up in datagrams, metrics and XML. */
export const name = type('a name of 1 to 63 letters, digits, ".", "_" or "-"', (text) =>
  /^[A-Za-z0-9._-]{1,63}$/.test(text) ? text : undefined,
);

export function integer(min: number, max: number): ValueType<number> {
  return type(`a whole number from ${min} to ${max}`, (text) => {
    if (!/^-?[0-9]{1,15}$/.test(text)) return undefined;
    const value = Number(text);
    return value >= min && value <= max ? value : undefined;
  });
}

export const port = type('a port from 1 to 65535', integer(1, 65535).parse);

/** conntrackd's words for it, in any case. */
export const flag = type('Yes or No', (text) => {
  const lower = text.toLowerCase();
  if (lower === 'yes' || lower === 'on') return true;
  return lower === 'no' || lower === 'off' ? false : undefined;
});

export const ipv4 = type('an IPv4 address', (text) => (isIPv4(text) ? text : undefined));
export const ipv6 = type('an IPv6 address', (text) =>
  isIPv6(text) && !text.includes('%') ? text : undefined,
);
export const address = type(
  'an IPv4 or IPv6 address',
  (text) => ipv4.parse(text) ?? ipv6.parse(text),
);

/** What Linux takes as the name of a network interface (dev_valid_name). */
export const interfaceName = type('the name of a network interface (1 to 15 characters)', (text) =>
  /^[^\s/:]{1,15}$/.test(text) && text !== '.' && text !== '..' ? text : undefined,
);

export const path = type('an absolute path', (text) =>
  text.startsWith('/') && !text.includes('\0') ? text : undefined,
);

const UNITS: Readonly<Record<string, number>> = {
  ms: 0.001,
  s: 1,
  '': 1,
  m: 60,
  h: 3600,
  d: 86400,
};

/** In seconds; a bare number is seconds, as in conntrackd. */
export function duration(minS: number, maxS: number): ValueType<number> {
  const expected = `a time from ${minS} to ${maxS} seconds (a number, or one with ms, s, m, h or d)`;
  return type(expected, (text) => {
    const match = /^([0-9]{1,10}(?:\.[0-9]{1,3})?)(ms|s|m|h|d|)$/.exec(text);
    if (!match) return undefined;
    const value = Number(match[1]) * (UNITS[match[2] as string] as number);
    return value >= minS && value <= maxS ? value : undefined;
  });
}

export function choice<const T extends string>(...choices: readonly T[]): ValueType<T> {
  return type(`one of ${choices.join(', ')}`, (text) => choices.find((one) => one === text));
}

/** The same type without some values, which are known but refused with a reason. */
export function without<T>(
  base: ValueType<T>,
  refused: (value: T) => string | undefined,
): ValueType<T> {
  const reason = (text: string): string | undefined => {
    const value = base.parse(text);
    return value === undefined ? undefined : refused(value);
  };
  return {
    expected: base.expected,
    parse: (text) => (reason(text) === undefined ? base.parse(text) : undefined),
    refused: reason,
  };
}

/** A fixed word between arguments, such as "ports" in `source ADDR ports LO HI`. */
export function keyword<const T extends string>(text: T): ValueType<T> {
  return type(`the word "${text}"`, (given) => (given === text ? text : undefined));
}
