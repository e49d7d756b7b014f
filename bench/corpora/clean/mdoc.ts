/** Turns manual pages in the macros of BSD, mdoc(7), into plain text. */
import { LineWriter } from './line-writer.ts'
import { Roff } from './roff.ts'

/** Macros whose arguments are plain words in another font. */
const words = 'Ad Ar Cd Cm Dv Em Er Ev Fa Ft Ic Li Lb Ms No Pa Sx Sy Tn Va Vt An St Lk Xr Nm D1 Dl'.split(' ')

/** Texts that macros put before and after their arguments. Some enclosures have one macro to open and one to close. */
const marks: Readonly<Record<string, string>> = {
  ...{ Ql: '‘|’', Dq: '“|”', Sq: '‘|’', Qq: '"|"', Pq: '(|)', Bq: '[|]', Brq: '{|}', Aq: '<|>', Op: '[|]' },
  ...{ Oo: '[|', Oc: '|]', Po: '(|', Pc: '|)', Bo: '[|', Bc: '|]', Ao: '<|', Ac: '|>', Bro: '{|', Brc: '|}' },
  ...{ Do: '“|', Dc: '|”', So: '‘|', Sc: '|’', Qo: '"|', Qc: '|"', Fo: '|(', Fc: '|)', Fn: '|()', Fl: '-|' },
  ...{ Mt: '<|>', In: '<|>', Nd: '- |', Ns: '|', Ap: "'|", Ux: 'UNIX |', At: 'AT&T UNIX |' },
  ...{ Bx: 'BSD |', Fx: 'FreeBSD |', Nx: 'NetBSD |', Ox: 'OpenBSD |', Dx: 'DragonFly |', Bsx: 'BSD/OS |' },
}

/** Texts before and after the arguments of macros that may be in the arguments of other macros. */
const around: Readonly<Record<string, readonly [string, string]>> = Object.fromEntries([
  ...words.map((name) => [name, ['', '']]),
  ...Object.entries(marks).map(([name, mark]) => [name, mark.split('|')]),
])

/** Enclosures that extend to the end of the line. Other macros end where the next macro begins. */
const wholeLine = new Set('Dq Sq Qq Pq Bq Brq Aq Op Ql'.split(' '))

const structure = new Set('Dd Dt Os Sh Ss Pp Bl El It Bd Ed Dl D1 Bk Ek Rs Re Sm Lp Rv Ex'.split(' '))
const known = new Set([...Object.keys(around), ...structure])

const closing = /^[.,:;)\]?!]$/
const opening = /^[([]$/

export function mdocText(source: string): string {
  const roff = new Roff(known)
  const out = new LineWriter()
  let name = ''
  let filled = true
  /** Types of the lists that are open. */
  const lists: string[] = []
  for (const line of roff.lines(source)) {
    if (line.macro === undefined) {
      if (line.text.trim() === '') out.breakLine(2)
      else if (filled) out.words(`${line.text} `)
      else {
        out.verbatim(line.text)
        out.breakLine(1)
      }
      continue
    }
    const { macro } = line
    const args = line.args.map((arg) => ({ word: roff.plain(arg), isQuoted: arg.includes(' ') || arg.includes('\\&') }))
    const text = (from = 0): string => phrase(args.slice(from), name)
    if (macro === 'Nm' && name === '' && args[0]) name = args[0].word
    if (macro === 'Sh' || macro === 'Ss') {
      filled = true
      lists.length = 0
      out.breakLine(2)
      out.words(text())
      out.breakLine(2)
    } else if (macro === 'Pp' || macro === 'Lp') out.breakLine(2)
    else if (macro === 'Bl') {
      lists.push(args[0]?.word ?? '')
      out.breakLine(2)
    } else if (macro === 'El') {
      lists.pop()
      out.breakLine(2)
    } else if (macro === 'It') {
      const list = lists.at(-1) ?? ''
      out.breakLine(lists.length > 1 || /column|compact/.test(list) ? 1 : 2)
      if (/bullet|dash|hyphen|enum/.test(list)) out.prefix('- ')
      else if (list === '-column') out.words(text().replace(/(?<!\s)\s*\bTa\b\s*|\t/g, '  '))
      else {
        out.words(text())
        out.breakLine(1)
      }
    } else if (macro === 'Bd') {
      filled = !args.some(({ word }) => word === '-literal' || word === '-unfilled')
      out.breakLine(2)
    } else if (macro === 'Ed') {
      filled = true
      out.breakLine(2)
    } else if (macro === 'Dl' || macro === 'D1') {
      out.breakLine(1)
      out.verbatim(text())
      out.breakLine(1)
    } else if (macro === 'br') out.breakLine(1)
    else if (macro === 'sp') out.breakLine(2)
    else if (/^%[A-Z]$/.test(macro)) out.words(`${text()}${macro === '%T' || macro === '%A' ? ',' : '.'} `)
    else if (Object.hasOwn(around, macro)) {
      const words = phrase([{ word: macro, isQuoted: false }, ...args], name)
      if (filled) out.words(`${words} `)
      else {
        out.verbatim(words)
        out.breakLine(1)
      }
    }
  }
  return out.text()
}

interface Word {
  readonly word: string
  readonly isQuoted: boolean
}

/** The text of a line of words, in which macros put text around the words that follow them. */
function phrase(words: readonly Word[], name: string): string {
  let line = ''
  let glued = true
  const add = (text: string): void => {
    if (text === '') return
    line += glued || line === '' ? text : ` ${text}`
    glued = false
  }
  let i = 0
  while (i < words.length) {
    const { word, isQuoted } = words[i] as Word
    const mark = isQuoted || !Object.hasOwn(around, word) ? undefined : around[word]
    if (!mark) {
      if (closing.test(word)) glued = true
      add(word)
      if (opening.test(word)) glued = true
      i++
      continue
    }
    if (word === 'Ns' || word === 'Ap') {
      line += mark[0]
      glued = true
      i++
      continue
    }
    const next = words.findIndex(
      (each, at) => at > i && ((!each.isQuoted && Object.hasOwn(around, each.word)) || closing.test(each.word)),
    )
    const last = words.findLastIndex((each) => !closing.test(each.word)) + 1
    const end = wholeLine.has(word) ? Math.max(last, i + 1) : next < 0 ? words.length : next
    const inner = words.slice(i + 1, end)
    add(enclosed(word, mark, inner, name))
    if (/^(Oo|Po|Bo|Ao|Do|So|Qo|Bro|Fo)$/.test(word)) glued = true
    i = end
  }
  return line
}

function enclosed(
  macro: string,
  [before, after]: readonly [string, string],
  inner: readonly Word[],
  name: string,
): string {
  const words = inner.map(({ word }) => word)
  if (macro === 'Nm') return words.length > 0 ? words.join(' ') : name
  if (macro === 'Xr') return words.length > 1 ? `${words[0]}(${words[1]})${words.slice(2).join(' ')}` : words.join(' ')
  if (macro === 'Fn') return words.length > 0 ? `${words[0]}(${words.slice(1).join(', ')})` : ''
  if (macro === 'Fl')
    return words.length > 0
      ? words.map((word) => (opening.test(word) || word === '|' ? word : `-${word}`)).join(' ')
      : '-'
  if (macro === 'Lk') return words.length > 1 ? `${words.slice(1).join(' ')} <${words[0]}>` : words.join(' ')
  if (macro === 'Ar' && words.length === 0) return 'file ...'
  if (wholeLine.has(macro)) return `${before}${phrase(inner, name)}${after}`
  // Macros like `Oc` close an enclosure that an earlier line opened.
  return `${before}${words.join(' ')}${after}`.trim()
}
