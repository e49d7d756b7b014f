/**
 * A text that a terminal only shows: control characters are written as `\x1b`. Line breaks, tabs and the codes of
 * colours stay. Controls of the text direction, which show the letters around them in another order, are written as
 * `\u202e`. Names and texts of strangers need it: they could move the cursor, change the terminal or disguise a name.
 */
export const printable = (text: string): string =>
  text.replace(CONTROL, (character) => {
    const code = character.charCodeAt(0).toString(16)
    return code.length > 2 ? `\\u${code.padStart(4, '0')}` : `\\x${code.padStart(2, '0')}`
  })

// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern matches control characters on purpose
const CONTROL = /\x1b(?!\[[\d;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]|\p{Bidi_Control}/gu
