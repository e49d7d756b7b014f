/** The last step of cleaning, for all text: one form of each character, no control characters, no encoded data. */

/** A run of this many characters without a space is no language, but base64, minified code or a table of bytes. */
const MAX_WORD = 300

/**
 * Normal text is in Unicode NFC and has `\n` at the ends of lines, with no spaces before it. It has no control, format
 * or private characters except tabs and joiners, at most one blank line in a row, and no lines of encoded data. It ends
 * with a newline, unless it is empty.
 */
export function normalText(text: string): string {
  const characters = text
    .replace(/\r\n?/g, '\n')
    .replace(/[\u00a0\u2007\u202f]/g, ' ')
    .replace(invisible, '')
    .normalize('NFC')
  const lines = characters.split('\n').map((line) => line.trimEnd())
  const kept = lines.filter((line) => line.length < MAX_WORD || !encodedData.test(line))
  const whole = kept
    .join('\n')
    .replace(/\n{3,}/g, '\n\n')
    .replace(/^\n+|(?<!\n)\n+$/g, '')
  return whole === '' ? '' : `${whole}\n`
}

/**
 * Control characters except tab and line feed, format characters except joiners, private characters, surrogates and
 * noncharacters.
 */
const invisible = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}]/gu

const encodedData = new RegExp(`[!-~]{${MAX_WORD}}`)
