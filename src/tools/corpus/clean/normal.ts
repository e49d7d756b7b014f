/** What all text goes through after its markup is gone: one form of each character, no control characters, no data. */

/** A run of this many characters without a space is not language: it is base64, minified code or a table of bytes. */
const MAX_WORD = 300

/**
 * Unicode NFC, `\n` at the ends of lines, and no spaces before it; no control, formatting or private characters except
 * tab and joiners; at most one blank line in a row; without lines that hold encoded data. Ends with a newline.
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

/** Control (except tab and line feed), unassigned and private characters, and format characters other than joiners. */
const invisible = /(?![\t\n\u200c\u200d])[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Noncharacter_Code_Point}]/gu

const encodedData = new RegExp(`[!-~]{${MAX_WORD}}`)
