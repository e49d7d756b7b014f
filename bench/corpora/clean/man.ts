/** Turns manual pages, groff_man(7) with tables of tbl(1), into plain text. mdoc.ts does this for pages in mdoc. */
import { LineWriter } from './line-writer.ts'
import { mdocText } from './mdoc.ts'
import { Roff } from './roff.ts'

/** Macros whose arguments are in two fonts by turns. Their text is the arguments without spaces between them. */
const alternating = new Set(['BR', 'RB', 'BI', 'IB', 'IR', 'RI'])
/** Macros whose arguments are in one font. Their text is the arguments with spaces between them. */
const fonts = new Set(['B', 'I', 'SM', 'SB', 'R'])

const known = new Set(
  'TH SH SS PP P LP TP TQ IP HP RS RE B I SM SB BR RB BI IB IR RI nf fi EX EE br sp UR UE MT ME SY YS OP MR TS TE EQ EN'.split(
    ' ',
  ),
)

/** The text of a manual page, which is empty for a page that only refers to another. */
export function manText(source: string): string {
  const text = source.replace(/\r\n?/g, '\n')
  if (/^[.'][ \t]*so[ \t]/m.test(text) && !/^[.'][ \t]*(SH|Sh)\b/m.test(text)) return ''
  return /^[.'][ \t]*Dd\b/m.test(text) ? mdocText(text) : macroText(text)
}

function macroText(source: string): string {
  const roff = new Roff(known)
  const out = new LineWriter()
  let filled = true
  /** Whether the next line is the tag of an indented paragraph. */
  let tag = false
  let heading = false
  /** Rows of the table that is being read. */
  let table: string[] | undefined
  let equation = false
  /** Target of a link, to print after its text. */
  let target = ''

  const write = (line: string): void => {
    if (!filled) {
      out.verbatim(line)
      out.breakLine(1)
      return
    }
    if (/^[ \t]/.test(line)) out.breakLine(1)
    out.words(line)
    out.words(' ')
    if (heading) out.breakLine(2)
    else if (tag) out.breakLine(1)
    heading = false
    tag = false
  }

  for (const line of roff.lines(source)) {
    if (equation) {
      if (line.macro === 'EN') equation = false
      continue
    }
    if (table) {
      if (line.macro === 'TE') {
        for (const row of tableRows(table)) {
          out.breakLine(1)
          out.verbatim(row)
        }
        out.breakLine(2)
        table = undefined
      } else if (line.macro === undefined) table.push(line.text)
      else if (fonts.has(line.macro) || alternating.has(line.macro))
        table.push(line.args.map((arg) => roff.plain(arg)).join(alternating.has(line.macro) ? '' : ' '))
      continue
    }
    if (line.macro === undefined) {
      if (line.text.trim() === '') {
        if (filled) out.breakLine(2)
        else out.verbatim('\n')
      } else write(line.text)
      continue
    }
    const { macro } = line
    const args = line.args.map((arg) => roff.plain(arg))
    const joined = args.join(' ')
    if (macro === 'SH' || macro === 'SS') {
      filled = true
      out.breakLine(2)
      heading = true
      if (joined !== '') write(joined)
    } else if (macro === 'PP' || macro === 'P' || macro === 'LP' || macro === 'sp' || macro === 'HP') {
      if (filled || macro !== 'sp') out.breakLine(2)
      else out.verbatim('\n')
    } else if (macro === 'TP' || macro === 'TQ') {
      out.breakLine(macro === 'TP' ? 2 : 1)
      tag = true
    } else if (macro === 'IP') {
      out.breakLine(2)
      // The mark of an item is before its text on the same line; a term is on a line above it.
      if (/^[•*o·+–-]$|^\(?\d+[.)]*$/.test(args[0] ?? ''))
        out.prefix(`${args[0] === '•' || args[0] === '\\(bu' ? '-' : args[0]} `)
      else if (args[0]) {
        write(args[0])
        out.breakLine(1)
      }
    } else if (macro === 'nf' || macro === 'EX') {
      out.breakLine(1)
      filled = false
    } else if (macro === 'fi' || macro === 'EE') {
      out.breakLine(1)
      filled = true
    } else if (macro === 'br' || macro === 'RS' || macro === 'RE') out.breakLine(1)
    else if (fonts.has(macro) && joined !== '') write(joined)
    else if (alternating.has(macro) && args.length > 0) write(args.join(''))
    else if (macro === 'MR') write(`${args[0] ?? ''}(${args[1] ?? ''})${args[2] ?? ''}`)
    else if (macro === 'UR' || macro === 'MT') target = args[0] ?? ''
    else if (macro === 'UE' || macro === 'ME') {
      if (target !== '') write(`<${target}>${args[0] ?? ''}`)
      target = ''
    } else if (macro === 'SY') {
      out.breakLine(1)
      write(joined)
    } else if (macro === 'OP') write(`[${joined}]`)
    else if (macro === 'YS') out.breakLine(2)
    else if (macro === 'TS') table = []
    else if (macro === 'EQ') equation = true
  }
  return out.text()
}

/** The rows of a table without its formats. Each row is a line, with two spaces between its cells. */
function tableRows(lines: readonly string[]): string[] {
  let separator = '\t'
  const rows: string[] = []
  let inFormat = true
  let block: string[] | undefined
  for (const [i, given] of lines.entries()) {
    let line = given
    if (i === 0 && line.trimEnd().endsWith(';')) {
      separator = /tab[ \t]*\((.)\)/.exec(line)?.[1] ?? '\t'
      continue
    }
    if (inFormat) {
      if (line.trimEnd().endsWith('.')) inFormat = false
      continue
    }
    if (block) {
      const end = /^T\}(.*)$/.exec(line)
      if (!end) {
        block.push(line)
        continue
      }
      line = `${rows.pop() ?? ''}${block.join(' ')}${end[1]}`
    }
    block = line.endsWith('T{') ? [] : undefined
    rows.push(line.replace(/T\{$/, ''))
  }
  return rows
    .filter((row) => !/^[_=\s]*$/.test(row))
    .map((row) =>
      row
        .split(separator)
        .map((cell) =>
          cell
            .replace(/T\{$/, '')
            .replace(/^\\\^$/, '')
            .trim(),
        )
        .filter((cell) => cell !== '')
        .join('  '),
    )
}
