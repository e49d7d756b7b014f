/**
 * A text that a terminal only shows: control characters are written as `\x1b`. Line breaks, tabs and the codes of
 * colours stay. For names and texts of strangers, which could move the cursor or change the terminal.
 */
export const printable = (text: string): string =>
  text.replace(CONTROL, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]/g
