import { type Document, isScalar, Lexer, LineCounter, Parser, parseDocument, visit } from 'yaml';
import { oneLine } from './one-line.ts';
import { ok, type Result, refuse } from './result.ts';

/** What a text may take before it is refused, each against another way to make the YAML library end or stall the process. */
export interface YamlBounds {
  /** Bytes of UTF-8. */
  readonly bytesMax: number;
  /** Lists and fields within each other, and the document around them. The library descends by recursion, and tens of thousands of them end the process. */
  readonly nestingMax: number;
  /** Names, values, marks, spaces and comments. On some faults the library takes time by the square of this. */
  readonly symbolsMax: number;
  /** How often aliases may repeat what they stand for, so that a short text cannot become a huge value. */
  readonly aliasCountMax: number;
}

/** Three times the symbols of 256 names with a value and a comment each, and deeper than any file of this program. */
export const defaultYamlBounds: YamlBounds = {
  bytesMax: 64 * 1024,
  nestingMax: 16,
  symbolsMax: 8192,
  aliasCountMax: 16,
};

/** Characters of a complaint, which may quote the text. */
const complaintCharactersMax = 160;

/**
 * One document of YAML 1.2 (core schema) as a plain value of lists, fields, text, numbers, true, false and null; empty text is null. Keys are
 * strings. Refused in one line: what is not YAML, what is out of bounds, unknown tags and directives, a key given twice, and the key
 * `__proto__`, which is no ordinary field of an object. An alias may stand within what it stands for.
 */
export function readYaml(text: string, bounds: Partial<YamlBounds> = {}): Result<unknown> {
  const within = { ...defaultYamlBounds, ...bounds };
  const excess = excessOf(text, within);
  if (excess !== null) return refuse(excess);
  const lines = new LineCounter();
  try {
    const document = parseDocument(text, { ...dialect, lineCounter: lines });
    // A warning is about a tag or a directive that the library would go on without.
    const fault = document.errors[0] ?? document.warnings[0];
    if (fault?.code === 'MULTIPLE_DOCS')
      return refuse('more than one YAML document, which "---" begins; allowed is one');
    if (fault) return refuse(complaint(fault));
    const proto = offsetOfProto(document);
    if (proto !== null) {
      const { line, col } = lines.linePos(proto);
      return refuse(`the key __proto__ at line ${line}, column ${col} is not allowed`);
    }
    return ok(document.toJS({ maxAliasCount: within.aliasCountMax }));
  } catch (error) {
    return refuse(complaint(error));
  }
}

/**
 * As strings, 007 and 7 are two keys, and 7 and "7" are one given twice. The schema is named so that a `%YAML 1.1` in the text does not
 * bring another, in which `yes` is true and `<<` merges.
 */
const dialect = { schema: 'core', resolveKnownTags: false, uniqueKeys: true, stringKeys: true } as const;

/** Looks at the text symbol by symbol, which recurses nowhere and takes time in proportion to its length. */
function excessOf(text: string, { bytesMax, symbolsMax, nestingMax }: YamlBounds): string | null {
  if (new TextEncoder().encode(text).length > bytesMax) return `longer than ${bytesMax} bytes`;
  const parser = new Parser();
  let symbols = 0;
  for (const symbol of new Lexer().lex(text)) {
    symbols += 1;
    if (symbols > symbolsMax) return `more than ${symbolsMax} YAML symbols`;
    for (const _ of parser.next(symbol));
    if (parser.stack.length > nestingMax) return `nested more than ${nestingMax} deep`;
  }
  return null;
}

/** Where the first key `__proto__` stands; an alias is no key here, because keys are strings. */
function offsetOfProto(document: Document): number | null {
  let offset: number | null = null;
  visit(document, {
    Pair(_index, { key }) {
      if (!isScalar(key) || key.value !== '__proto__') return undefined;
      offset = key.range?.[0] ?? 0;
      return visit.BREAK;
    },
  });
  return offset;
}

function complaint(error: unknown): string {
  const [first = ''] = String(error instanceof Error ? error.message : error).split('\n');
  return `not YAML: ${oneLine(first.replace(/:$/, ''), complaintCharactersMax)}`;
}
