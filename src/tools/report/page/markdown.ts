/**
 * Renders a report as GitHub-flavoured Markdown, with findings in a quotation. Every figure is a separate SVG file,
 * because code hosts remove inline SVG.
 */
import { sanitize } from '../../../core/text/escape.ts'
import type { Cell, Figure, Table } from '../blocks.ts'
import { standaloneSvg } from '../figures/drawing.ts'
import { intervalText, isDrawable, isInterval } from '../interval-cells.ts'
import type { Report, Section } from '../report.ts'
import { uniqueNames } from '../unique-names.ts'
import { foldedVerdicts } from '../verdicts.ts'

export interface Markdown {
  readonly markdown: string
  /** SVG files by name, to be stored as `figures/NAME.svg` next to the text. */
  readonly figures: Readonly<Record<string, string>>
}

export function renderMarkdown(report: Report): Markdown {
  const figures: Record<string, string> = {}
  const name = uniqueNames()
  const counts = { figure: 0, table: 0 }
  const section = ({ id, title, about, lead, verdicts, command, blocks }: Section): string[] => [
    `## ${escapeMarkdown(title)}`,
    escapeMarkdown(about),
    ...(lead ? tableOf(lead, ++counts.table).toReversed() : []),
    ...findings(id === 'summary' ? [verdicts, []] : foldedVerdicts(verdicts)),
    command === undefined ? '' : fenced(command),
    ...blocks.flatMap((block) => {
      counts[block.kind]++
      if (block.kind === 'table') return tableOf(block, counts.table)
      const file = name(block.id)
      figures[file] = standaloneSvg(block, file)
      return figureOf(block, file, counts.figure)
    }),
  ]
  const parts = [
    `# ${escapeMarkdown(report.title)}`,
    report.headline === undefined ? '' : `**${escapeMarkdown(report.headline)}**`,
    report.facts.map((fact) => `- ${escapeLine(fact)}`).join('\n'),
    `Made by`,
    fenced(report.command),
    ...report.sections.flatMap(section),
  ]
  return { markdown: `${parts.filter((part) => part !== '').join('\n\n')}\n`, figures }
}

function findings([first, rest]: ReturnType<typeof foldedVerdicts>): string[] {
  if (first.length === 0) return ['*Nothing found yet.*']
  const list = (verdicts: readonly string[]) => verdicts.map((verdict) => `> - ${escapeLine(verdict)}`).join('\n')
  if (rest.length === 0) return [list(first)]
  return [list(first), '<details>', `<summary>${rest.length} more</summary>`, list(rest), '</details>']
}

function figureOf({ caption }: Figure, file: string, number: number): string[] {
  return [`![${escapeMarkdown(caption)}](figures/${file}.svg)`, `**Figure ${number}.** ${escapeMarkdown(caption)}`]
}

function tableOf({ caption, columns, rows }: Table, number: number): string[] {
  const cells = [
    columns.map(({ title }) => escapeMarkdown(title)),
    ...rows.map((row) => columns.map((_, i) => cellOf(row[i] ?? ''))),
  ]
  const lengths = columns.map((_, i) => Math.max(3, ...cells.map((row) => Math.min(60, row[i]?.length ?? 0))))
  const formatRow = (row: readonly string[]) =>
    `| ${row
      .map((cell, i) => (columns[i]?.align === 'right' ? cell.padStart(lengths[i] ?? 0) : cell.padEnd(lengths[i] ?? 0)))
      .join(' | ')} |`
  const rule = `|${columns.map(({ align }, i) => (align === 'right' ? `${'-'.repeat((lengths[i] ?? 3) + 1)}:` : '-'.repeat((lengths[i] ?? 3) + 2))).join('|')}|`
  const [head = [], ...body] = cells
  const table = [formatRow(head), rule, ...body.map(formatRow)].join('\n')
  return [`**Table ${number}.** ${escapeMarkdown(caption)}`, columns.length > 0 ? table : '*No data yet.*']
}

/** The text of a cell. Notes are in brackets, and intervals in code, which hosts show in a monospaced font. */
function cellOf(cell: Cell): string {
  if (typeof cell === 'string') return escapeMarkdown(cell)
  if (isInterval(cell) && !isDrawable(cell)) return '–'
  // Spaces become no-break spaces, since hosts collapse ordinary spaces.
  if (isInterval(cell)) return `\`${intervalText(cell).replaceAll(' ', '\u00a0')}\``
  const { text, note, tone } = cell
  const strong = tone !== undefined && tone !== 'open' ? `**${escapeMarkdown(text)}**` : escapeMarkdown(text)
  return note === undefined ? strong : `${strong} (${escapeMarkdown(note)})`
}

/** Escapes all markup and joins lines. */
function escapeMarkdown(text: string): string {
  return sanitize(text)
    .replace(/\s+/g, ' ')
    .trim()
    .replace(/[\\`*_[\]|~$#]/g, '\\$&')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
}

/** Escapes all markup, also characters that start a list or a rule at the beginning of a line. */
const escapeLine = (text: string): string =>
  escapeMarkdown(text)
    .replace(/^([-+=])/, '\\$1')
    .replace(/^(\d+)([.)])/, '$1\\$2')

function fenced(text: string): string {
  const ticks = '`'.repeat(Math.max(3, longestRun(text) + 1))
  return `${ticks}sh\n${sanitize(text)}\n${ticks}`
}

const longestRun = (text: string): number => Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length))
