/** Text from outside is shown, but not more of it than this many characters. */
const shownCharactersMax = 60;

/** Control characters, C1 among them, and what some programs take for the end of a line. */
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g;

/** Text from outside as a part of one line: cut to `charactersMax`, so that a complaint neither floods a log nor steers a terminal. */
export function oneLine(text: string, charactersMax = shownCharactersMax): string {
  const escaped = text.replace(unprintable, (each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const characters = [...escaped];
  return characters.length > charactersMax ? `${characters.slice(0, charactersMax).join('')}…` : escaped;
}
