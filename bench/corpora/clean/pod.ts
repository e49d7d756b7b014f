/**
 * Turns Perl's documentation (POD), perlpod(1), into plain text. Headings, paragraphs, items and blocks of code stay;
 * the program around them goes.
 */
import { htmlText } from './html.ts'

/** The text of the POD blocks of a file. Everything else in the file is a program. */
export function podText(source: string): string {
  const paragraphs: string[] = []
  let inPod = false
  /** Format of the `=begin` block that is skipped. */
  let skipped: string | undefined
  for (const paragraph of source.replace(/\r\n?/g, '\n').split(/\n(?:[ \t]*\n)+/)) {
    const command = /^\n*=([a-zA-Z]\w*)[ \t]*([\s\S]*)$/.exec(paragraph)
    if (!command) {
      if (inPod && skipped === undefined)
        paragraphs.push(/^\n*[ \t]/.test(paragraph) ? verbatim(paragraph) : inline(paragraph))
      continue
    }
    const [, name = '', rest = ''] = command
    inPod = name !== 'cut'
    if (name === 'begin' && skipped === undefined && !/^(:|text\b)/.test(rest)) skipped = rest.trim()
    else if (name === 'end' && rest.trim() === skipped) skipped = undefined
    else if (skipped !== undefined) continue
    else if (/^head\d$/.test(name)) paragraphs.push(inline(rest))
    else if (name === 'item') paragraphs.push(item(rest))
  }
  return paragraphs.filter((paragraph) => paragraph.trim() !== '').join('\n\n')
}

const verbatim = (paragraph: string): string => paragraph.replace(/^\n+/, '')

/** The text of an item. An item that is only a mark has no text: the paragraph after it is the item. */
function item(text: string): string {
  const mark = text.trim()
  if (mark === '' || mark === '*') return ''
  return inline(mark.replace(/^\*\s+/, '- '))
}

/** Characters with names that HTML does not have. */
const names: Readonly<Record<string, string>> = { verbar: '|', sol: '/' }

/** Resolves formatting codes such as `B<bold>`, `C<< a->b >>` and `L<text|page>`, and joins lines. */
function inline(text: string): string {
  const [resolved] = resolve(text, 0, undefined)
  return resolved.replace(/\s+/g, ' ').trim()
}

/** Resolves codes from `at` until the closing mark. Returns the text and the position after the mark. */
function resolve(text: string, at: number, closing: string | undefined): [string, number] {
  const parts: string[] = []
  let position = at
  while (position < text.length) {
    if (closing !== undefined && text.startsWith(closing, position)) return [parts.join(''), position + closing.length]
    const code = /^([A-Z])(<<+\s|<)/.exec(text.slice(position, position + 40))
    if (!code) {
      parts.push(text[position] as string)
      position++
      continue
    }
    const [whole, letter = '', opening = ''] = code
    const brackets = opening.trimEnd().length
    const [inner, after] = resolve(text, position + whole.length, brackets === 1 ? '>' : ` ${'>'.repeat(brackets)}`)
    parts.push(plain(letter, inner))
    position = after
  }
  return [parts.join(''), position]
}

function plain(letter: string, inner: string): string {
  if (letter === 'X' || letter === 'Z') return ''
  if (letter === 'E') return entity(inner)
  if (letter !== 'L') return inner
  const [, label, target = ''] = /^(?:([^|]*)\|)?([\s\S]*)$/.exec(inner) ?? []
  if (label !== undefined) return label
  const [, page = '', section] = /^([^/]*)\/?(?:"?([\s\S]*?)"?)$/.exec(target) ?? []
  if (/^\w+:\S/.test(target) && !target.startsWith('::') && /^[a-z]+:[^:]/.test(target)) return target
  if (!section) return page
  return page === '' ? `"${section}"` : `"${section}" in ${page}`
}

function entity(name: string): string {
  const number = /^\d/.test(name)
    ? Number(name)
    : /^0?x[\da-f]+$/i.test(name)
      ? Number(`0x${name.replace(/^0?x/i, '')}`)
      : undefined
  if (number !== undefined) return number <= 0x10ffff ? String.fromCodePoint(number) : ''
  return names[name] ?? htmlText(`&${name};`).replace(/^&\w+;$/, '')
}
