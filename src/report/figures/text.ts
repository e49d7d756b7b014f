/**
 * Text that fits. Its width, without a browser, is an estimate for the sans-serif fonts of common systems, a
 * little on the wide side, so that what is said to fit does. Names come from users and may be of any length or
 * script; they are cut between graphemes, never inside one.
 */
import { clean } from '../../text/escape.ts'
import { type Attributes, type Child, element, type Markup } from '../markup.ts'

const narrow = /[fijltrI.,:;'|!()[\]{}/ ·-]/
const wide = /[mwMW@%—…−+=<>~#&A-Z→←]/
const full = /[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uff60\ufffd]|\p{Extended_Pictographic}/u
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Parts that belong together on screen, as they are written there. */
const partsOf = (text: string): string[] => Array.from(graphemes.segment(clean(text)), ({ segment }) => segment)

/** In pixels. */
export function textWidth(text: string, size: number): number {
  return size * partsOf(text).reduce((sum, part) => sum + partWidth(part), 0)
}

function partWidth(part: string): number {
  if (full.test(part)) return 1.1
  if (narrow.test(part)) return 0.38
  if (/[mwMW@%—…]/.test(part)) return 1
  if (wide.test(part)) return 0.74
  return part.codePointAt(0) === undefined || part.charCodeAt(0) < 0x250 ? 0.62 : 0.75
}

/** The text, or as much of its beginning as fits before an ellipsis. */
export function fitted(text: string, size: number, width: number): string {
  const oneLine = text.replace(/\s+/g, ' ').trim()
  if (textWidth(oneLine, size) <= width) return oneLine
  let kept = ''
  let used = textWidth('…', size)
  for (const part of partsOf(oneLine)) {
    used += size * partWidth(part)
    if (used > width) break
    kept += part
  }
  return `${kept.trimEnd()}…`
}

/** Lines of at most `width`; the last of `most` lines is cut. Spaces that do not break hold. */
export function wrapped(text: string, size: number, width: number, most: number): string[] {
  const lines: string[] = []
  let words = text.trim().split(/[ \t\r\n]+/)
  while (words.length > 0) {
    if (lines.length === most - 1) return [...lines, fitted(words.join(' '), size, width)]
    let taken = 1
    while (taken < words.length && textWidth(words.slice(0, taken + 1).join(' '), size) <= width) taken++
    lines.push(fitted(words.slice(0, taken).join(' '), size, width))
    words = words.slice(taken)
  }
  return lines
}

/** Shown where one points. */
export const title = (text: string): Markup => element('title', {}, text)

/** The whole of a name that was cut. */
export const whole = (shown: string, name: string): Child => (shown === name ? undefined : title(name))

/** Lines one below the other. @param name what was wrapped, shown where its end was cut */
export const textLines = (
  lines: readonly string[],
  at: Attributes & { readonly y: number },
  height: number,
  name?: string,
): Child =>
  lines.map((line, i) => {
    const cut = name !== undefined && line.endsWith('…')
    return element('text', { ...at, y: at.y + height * i }, line, cut ? title(name) : undefined)
  })
