/** Text for a POSIX shell. */

/**
 * A word in the form from which the shell reads it back: unchanged if it has only harmless characters, otherwise in
 * single quotes, where nothing is expanded: `it's` becomes `'it'\''s'`.
 */
export const quoted = (word: string): string =>
  /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

/** A command line of these words. */
export const commandLine = (words: readonly string[]): string => words.map(quoted).join(' ')
