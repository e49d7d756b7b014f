/**
 * A report as Markdown for code hosts: found things in a quotation, tables of GitHub's flavour, and every
 * figure an SVG file of its own, because hosts remove SVG that stands in the text.
 */

import { clean } from '../text/escape.ts'
import type { Cell, Figure, Table } from './blocks.ts'
import { isDrawable, isInterval, lettersOf } from './cells.ts'
import { standaloneSvg } from './figures/drawing.ts'
import { uniqueNames } from './names.ts'
import type { Report, Section } from './report.ts'
import { foldedVerdicts } from './verdicts.ts'

export interface Markdown {
  readonly markdown: string
  /** SVG files by name: `figures/NAME.svg` beside the text. */
  readonly figures: Readonly<Record<string, string>>
}

export function renderMarkdown(report: Report): Markdown {
  const figures: Record<string, string> = {}
  const name = uniqueNames()
  const counts = { figure: 0, table: 0 }
  const section = ({ id, title, about, lead, verdicts, blocks }: Section): string[] => [
    `## ${words(title)}`,
    words(about),
    ...(lead ? tableOf(lead, ++counts.table).toReversed() : []),
    ...found(id === 'summary' ? [verdicts, []] : foldedVerdicts(verdicts)),
    ...blocks.flatMap((block) => {
      counts[block.kind]++
      if (block.kind === 'table') return tableOf(block, counts.table)
      const file = name(block.id)
      figures[file] = standaloneSvg(block, file)
      return figureOf(block, file, counts.figure, report.command)
    }),
  ]
  const parts = [
    `# ${words(report.title)}`,
    report.facts.map((fact) => `- ${line(fact)}`).join('\n'),
    `Made by`,
    fenced(report.command),
    ...report.sections.flatMap(section),
  ]
  return { markdown: `${parts.filter((part) => part !== '').join('\n\n')}\n`, figures }
}

function found([first, rest]: ReturnType<typeof foldedVerdicts>): string[] {
  if (first.length === 0) return ['*Nothing found yet.*']
  const list = (verdicts: readonly string[]) => verdicts.map((verdict) => `> - ${line(verdict)}`).join('\n')
  if (rest.length === 0) return [list(first)]
  return [list(first), '<details>', `<summary>${rest.length} more</summary>`, list(rest), '</details>']
}

function figureOf({ caption }: Figure, file: string, number: number, command: string): string[] {
  return [
    `![${words(caption)}](figures/${file}.svg)`,
    `**Figure ${number}.** ${words(caption)} Made by ${code(command)}`,
  ]
}

function tableOf({ caption, columns, rows }: Table, number: number): string[] {
  const cells = [
    columns.map(({ title }) => words(title)),
    ...rows.map((row) => columns.map((_, i) => cellOf(row[i] ?? ''))),
  ]
  const lengths = columns.map((_, i) => Math.max(3, ...cells.map((row) => Math.min(40, row[i]?.length ?? 0))))
  const written = (row: readonly string[]) =>
    `| ${row
      .map((cell, i) => (columns[i]?.align === 'right' ? cell.padStart(lengths[i] ?? 0) : cell.padEnd(lengths[i] ?? 0)))
      .join(' | ')} |`
  const rule = `|${columns.map(({ align }, i) => (align === 'right' ? `${'-'.repeat((lengths[i] ?? 3) + 1)}:` : '-'.repeat((lengths[i] ?? 3) + 2))).join('|')}|`
  const [head = [], ...body] = cells
  const table = [written(head), rule, ...body.map(written)].join('\n')
  return [`**Table ${number}.** ${words(caption)}`, columns.length > 0 ? table : '*No data yet.*']
}

/** Small print in brackets, intervals in letters of one width: hosts show both. */
function cellOf(cell: Cell): string {
  if (typeof cell === 'string') return words(cell)
  // A space of its own width: hosts join several of the other kind.
  if (isInterval(cell) && !isDrawable(cell)) return '–'
  if (isInterval(cell)) return `\`${lettersOf(cell).replaceAll(' ', '\u00a0')}\``
  const { text, note, tone } = cell
  const strong = tone === 'for' || tone === 'against' ? `**${words(text)}**` : words(text)
  return note === undefined ? strong : `${strong} (${words(note)})`
}

/** Text in which nothing is markup, on one line. */
function words(text: string): string {
  return clean(text)
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[\\`*_[\]|~$#]/g, '\\$&')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
}

/** The same where a line begins, which some characters make a list or a rule. */
const line = (text: string): string =>
  words(text)
    .replace(/^([-+=])/, '\\$1')
    .replace(/^(\d+)([.)])/, '$1\\$2')

function code(text: string): string {
  const flat = clean(text).replace(/\s+/g, ' ').trim()
  const ticks = '`'.repeat(longestRun(flat) + 1)
  return flat.startsWith('`') || flat.endsWith('`') ? `${ticks} ${flat} ${ticks}` : `${ticks}${flat}${ticks}`
}

function fenced(text: string): string {
  const ticks = '`'.repeat(Math.max(3, longestRun(text) + 1))
  return `${ticks}sh\n${clean(text)}\n${ticks}`
}

const longestRun = (text: string): number => Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length))
