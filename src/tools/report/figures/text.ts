/**
 * Measures, truncates and wraps text. Without a browser, the width is an estimate for the sans-serif fonts of common
 * systems, slightly too wide so that text fits. Names come from users and may have any length or script; they are cut
 * between graphemes.
 */
import { sanitize } from '../../../core/text/escape.ts'
import { type Attributes, type Child, element, type Markup } from '../markup.ts'

const narrow = /[fijltrI.,:;'|!()[\]{}/ ·-]/
const wide = /[mwMW@%—…−+=<>~#&A-Z→←]/
const full = /[\u1100-\u11ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff00-\uff60\ufffd]|\p{Extended_Pictographic}/u
const segmenter = new Intl.Segmenter('en', { granularity: 'grapheme' })

/** Splits text into graphemes. */
const graphemesOf = (text: string): string[] => Array.from(segmenter.segment(sanitize(text)), ({ segment }) => segment)

/** Estimated width of a text in pixels. */
export function textWidth(text: string, size: number): number {
  return size * graphemesOf(text).reduce((sum, grapheme) => sum + graphemeWidth(grapheme), 0)
}

function graphemeWidth(grapheme: string): number {
  if (full.test(grapheme)) return 1.1
  if (narrow.test(grapheme)) return 0.38
  if (/[mwMW@%—…]/.test(grapheme)) return 1
  if (wide.test(grapheme)) return 0.74
  return grapheme.codePointAt(0) === undefined || grapheme.charCodeAt(0) < 0x250 ? 0.62 : 0.75
}

/** The text on one line, cut with an ellipsis if it does not fit. */
export function truncate(text: string, size: number, width: number): string {
  const oneLine = text.replace(/\s+/g, ' ').trim()
  if (textWidth(oneLine, size) <= width) return oneLine
  let kept = ''
  let used = textWidth('…', size)
  for (const grapheme of graphemesOf(oneLine)) {
    used += size * graphemeWidth(grapheme)
    if (used > width) break
    kept += grapheme
  }
  return `${kept.trimEnd()}…`
}

/**
 * Wraps text into at most `maxLines` lines of at most `width`, of which the last is truncated. Lines do not break at
 * no-break spaces.
 */
export function wrapText(text: string, size: number, width: number, maxLines: number): string[] {
  const lines: string[] = []
  let words = text.trim().split(/[ \t\r\n]+/)
  while (words.length > 0) {
    if (lines.length === maxLines - 1) return [...lines, truncate(words.join(' '), size, width)]
    let count = 1
    while (count < words.length && textWidth(words.slice(0, count + 1).join(' '), size) <= width) count++
    lines.push(truncate(words.slice(0, count).join(' '), size, width))
    words = words.slice(count)
  }
  return lines
}

/** The element that browsers show as a tooltip. */
export const title = (text: string): Markup => element('title', {}, text)

/** The full name as a tooltip if it was cut. */
export const titleIfCut = (shown: string, name: string): Child => (shown === name ? undefined : title(name))

/** Lines of text. @param name the text before wrapping, which becomes a tooltip if it was cut */
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
