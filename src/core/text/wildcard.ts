/**
 * Matches text with patterns that have wildcards. Patterns come from files of strangers, and a regular expression with
 * many `.*` tries all ways to share out a text, which takes for ever. Here only the last wildcard ever takes more
 * characters: the last one can match anything more that an earlier one could. So the time is at most proportional to
 * the length of the pattern times the length of the text.
 */

/** A wildcard for any number of characters, also zero. */
export const ANY = Symbol('any characters')

/** A part of a pattern: a character, a test of a character, or {@link ANY}. */
export type PatternPart = string | ((character: string) => boolean) | typeof ANY

/** @param text The characters of the text, as code points. */
export function matchesParts(pattern: readonly PatternPart[], text: readonly string[]): boolean {
  /** The part after the last wildcard, and the first character that this wildcard has not taken. */
  let afterAny = -1
  let taken = 0
  let at = 0
  for (let i = 0; i < text.length; ) {
    const part = pattern[at]
    if (part === ANY) {
      afterAny = ++at
      taken = i
    } else if (part !== undefined && matchesOne(part, text[i] as string)) {
      at++
      i++
    } else if (afterAny < 0) return false
    else {
      // The wildcard takes one character more.
      at = afterAny
      i = ++taken
    }
  }
  while (pattern[at] === ANY) at++
  return at === pattern.length
}

const matchesOne = (part: string | ((character: string) => boolean), character: string): boolean =>
  typeof part === 'string' ? part === character : part(character)
