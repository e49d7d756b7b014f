/** Encodings of text files besides UTF-8. */
import { nearestName } from '../text/nearest.ts'

/** Names to suggest: the usual ones of the WHATWG Encoding Standard. */
const known = [
  ...['utf-8', 'utf-16le', 'utf-16be', 'latin1', 'iso-8859-1', 'iso-8859-2', 'iso-8859-5', 'iso-8859-7', 'iso-8859-15'],
  ...['windows-1250', 'windows-1251', 'windows-1252', 'windows-1253', 'windows-1254', 'windows-1255', 'windows-1256'],
  ...['windows-1257', 'windows-1258', 'windows-874', 'koi8-r', 'koi8-u', 'ibm866', 'macintosh', 'shift_jis', 'euc-jp'],
  ...['euc-kr', 'gbk', 'gb18030', 'big5'],
]

/**
 * The name of an encoding by any of its labels: `windows-1252` for `latin1`. Undefined if `TextDecoder` does not know
 * it, and for ISO-2022-JP, whose bytes are always valid UTF-8 too.
 */
export function encodingName(label: string): string | undefined {
  try {
    const { encoding } = new TextDecoder(label, { fatal: true })
    return encoding === 'iso-2022-jp' ? undefined : encoding
  } catch {
    return undefined
  }
}

/** The accepted encodings and the nearest name, for the message about an unknown label. */
export function expectedEncodings(label: unknown): string {
  const near = typeof label === 'string' ? nearestName(label, known) : undefined
  const hint = near === undefined ? '' : `; did you mean "${near}"?`
  return `expected utf-8, or another encoding of the WHATWG standard, such as latin1, windows-1251, utf-16le, shift_jis or gbk${hint}`
}
