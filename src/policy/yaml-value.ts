import { CST, Lexer, Parser, parse } from 'yaml';
import { ok, type Result, refuse } from '../base/result.ts';

/** Deeper than any policy: the YAML library descends by recursion, and lists nested tens of thousands deep end the process. */
const nestingMax = 16;
/** Twice what a policy of 256 names and as many comments takes; the library spends the square of it in time on some faults. */
const symbolsMax = 8192;

/** The one value that a short YAML text holds; an alias is refused, since it can make a value endless. */
export function yamlValue(text: string): Result<unknown> {
  const complaint = formComplaint(text);
  if (complaint !== null) return refuse(`not YAML as expected: ${complaint}`);
  try {
    return ok(parse(text, { uniqueKeys: true, strict: true, logLevel: 'error' }));
  } catch (error) {
    const [first = ''] = String(error instanceof Error ? error.message : error).split('\n');
    return refuse(`not YAML: ${first.replace(/:$/, '')}`);
  }
}

/** Read symbol by symbol, which recurses nowhere and takes time in proportion. */
function formComplaint(text: string): string | null {
  const parser = new Parser();
  let symbols = 0;
  for (const symbol of new Lexer().lex(text)) {
    if (++symbols > symbolsMax) return `more than ${symbolsMax} symbols`;
    if (CST.tokenType(symbol) === 'alias') return `the alias ${symbol.slice(0, 60)}`;
    for (const _ of parser.next(symbol));
    if (parser.stack.length > nestingMax) return `nested more than ${nestingMax} deep`;
  }
  return null;
}
