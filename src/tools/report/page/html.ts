/**
 * Renders a report as one self-contained HTML file without scripts, fonts or requests. Its content security policy
 * (`html-page.ts`) forbids them too, so a name written by a user is harmless even if an escape were missed.
 *
 * The file has every figure twice, drawn for a column and for a telephone. The style shows one of the two, so text has
 * the same size on every screen.
 */
import { sanitize } from '../../../core/text/escape.ts'
import type { Block, Figure, Table } from '../blocks.ts'
import { widths } from '../figures/body.ts'
import { inlineSvg } from '../figures/drawing.ts'
import { type Child, element, type Markup } from '../markup.ts'
import type { Report, Section } from '../report.ts'
import { uniqueNames } from '../unique-names.ts'
import { foldedVerdicts } from '../verdicts.ts'
import { figureNumbers } from './figure-numbers.ts'
import { htmlPage } from './html-page.ts'
import { scrollFrame, tableElement } from './html-table.ts'

/** A block with its anchor and its number. */
interface Numbered {
  readonly block: Block
  readonly anchor: string
  /** Number of the block; figures and tables are numbered separately. */
  readonly number: number
}

interface Part {
  readonly section: Section
  readonly anchor: string
  readonly lead: Numbered | undefined
  readonly blocks: readonly Numbered[]
}

export function renderHtml(report: Report): string {
  const parts = partsOf(report)
  // The answers come first, then the contents.
  const summary = parts.filter(({ section }) => section.id === 'summary')
  const others = parts.filter((part) => !summary.includes(part))
  return htmlPage(
    report.title,
    [],
    element('a', { class: 'skip', href: '#content' }, 'Skip to the results'),
    element(
      'header',
      {},
      element('h1', {}, report.title),
      report.headline === undefined ? undefined : element('p', { class: 'headline' }, report.headline),
      report.facts.length > 0
        ? element(
            'ul',
            { class: 'facts' },
            report.facts.map((fact) => element('li', {}, fact)),
          )
        : undefined,
      element('p', { class: 'made' }, 'Made by ', command(report.command)),
    ),
    element(
      'main',
      { id: 'content' },
      parts.length === 0 ? element('p', { class: 'none' }, 'No results yet.') : undefined,
      summary.map(sectionOf),
      contents(others),
      others.map(sectionOf),
    ),
  )
}

function partsOf(report: Report): Part[] {
  const name = uniqueNames()
  // These names are reserved for the page itself.
  name('content')
  name('contents')
  const counts = { figure: 0, table: 0 }
  return report.sections.map((section) => {
    const anchor = name(section.id)
    const numbered = (block: Block): Numbered => {
      counts[block.kind]++
      const number = counts[block.kind]
      return { block, number, anchor: name(block.kind === 'figure' ? `figure-${block.id}` : `table-${number}`) }
    }
    const lead = section.lead && numbered(section.lead)
    return { section, anchor, lead, blocks: section.blocks.map(numbered) }
  })
}

/** A command. A click selects all of it. */
function command(text: string): Markup {
  const pieces = sanitize(text).split(/(\s+)/)
  return element(
    'code',
    { class: 'command' },
    pieces.map((piece, i) => (i % 2 === 0 ? element('span', {}, piece) : piece)),
  )
}

/** Lists sections by title only; the findings are in the summary and in the sections. */
function contents(parts: readonly Part[]): Child {
  if (parts.length === 0) return undefined
  return element(
    'nav',
    { 'aria-labelledby': 'contents' },
    element('h2', { id: 'contents' }, 'Contents'),
    element(
      'ol',
      {},
      parts.map(({ section, anchor }) => element('li', {}, element('a', { href: `#${anchor}` }, section.title))),
    ),
  )
}

function sectionOf({ section, anchor, lead, blocks }: Part): Child {
  return [
    '\n',
    element(
      'section',
      { id: anchor, 'aria-labelledby': `${anchor}-heading` },
      element('h2', { id: `${anchor}-heading` }, section.title),
      section.about === '' ? undefined : element('p', { class: 'about' }, section.about),
      lead?.block.kind === 'table' ? tableOf(lead.block, lead.anchor, lead.number, 'lead') : undefined,
      verdicts(section),
      section.command === undefined ? undefined : element('p', {}, command(section.command)),
      blocks.map((numbered) => ['\n', blockOf(numbered)]),
    ),
  ]
}

/** The findings of a section. In the summary every verdict is an answer that begins with its question. */
function verdicts({ id, verdicts: found }: Section): Child {
  if (found.length === 0) return element('p', { class: 'none' }, 'Nothing found yet.')
  const isSummary = id === 'summary'
  const [first, rest] = isSummary ? [found, []] : foldedVerdicts(found)
  const item = (verdict: string): Child => {
    const colon = isSummary ? verdict.indexOf(': ') : -1
    return colon < 0 ? verdict : [element('strong', {}, verdict.slice(0, colon + 1)), verdict.slice(colon + 1)]
  }
  const list = (items: readonly string[]): Child =>
    element(
      'ul',
      {},
      items.map((verdict) => element('li', {}, item(verdict))),
    )
  return element(
    'div',
    { class: isSummary ? 'verdicts answers' : 'verdicts', role: 'note', 'aria-label': 'Findings' },
    list(first),
    rest.length > 0 ? element('details', {}, element('summary', {}, `${rest.length} more`), list(rest)) : undefined,
  )
}

function blockOf({ block, anchor, number }: Numbered): Child {
  return block.kind === 'table' ? tableOf(block, anchor, number) : figureOf(block, anchor, number)
}

function figureOf(figure: Figure, anchor: string, number: number): Child {
  return element(
    'figure',
    { id: anchor },
    element('div', { class: 'wide' }, inlineSvg(figure, anchor, widths.wide)),
    element('div', { class: 'narrow' }, inlineSvg(figure, `${anchor}-small`, widths.narrow)),
    element(
      'figcaption',
      {},
      element('a', { class: 'number', href: `#${anchor}` }, `Figure ${number}.`),
      ' ',
      figure.caption,
    ),
    element(
      'details',
      {},
      element('summary', {}, 'Numbers'),
      scrollFrame(`Numbers of figure ${number}`, tableElement(figureNumbers(figure), undefined)),
    ),
  )
}

function tableOf(table: Table, anchor: string, number: number, name?: string): Child {
  const caption = element(
    'caption',
    {},
    element('span', {}, element('a', { class: 'number', href: `#${anchor}` }, `Table ${number}.`), ' ', table.caption),
  )
  return element(
    'div',
    { id: anchor, class: 'table' },
    scrollFrame(`Table ${number}`, tableElement(table, caption, name)),
  )
}
