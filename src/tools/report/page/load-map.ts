/** Maps of the loads of experts, as markup without scripts: a row for each router, and a cell for each expert. */
import { colourAlong, inkOn } from '../../../core/charts/colour.ts'
import { diverging } from '../../../core/charts/palette.ts'
import { fixed } from '../../../core/text/numbers.ts'
import { type Child, element, type Markup } from '../markup.ts'

/** A router of a map. */
export interface LoadRow {
  readonly layer: number
  /** The part of a layer that has the router. */
  readonly module: string
  /** Its name in titles. */
  readonly name: string
  /** Load of each expert over the mean of the router; 0 is dead. */
  readonly loads: readonly number[]
  /** Where the cell of an expert leads to; default: nowhere. */
  linkOf?(expert: number): string
}

/** Number of colours of a load; the middle one is the mean. */
const COLOURS = 33

/** A map for each module, and the key of their colours. @param hint Last sentence of the description. */
export function loadMaps(rows: readonly LoadRow[], hint?: string): Child {
  const modules = [...new Set(rows.map(({ module }) => module))]
  const about =
    'Rows are layers, columns experts. An orange expert is chosen more often than the mean of its router, a blue ' +
    `expert less often.${hint === undefined ? '' : ` ${hint}`}`
  const maps = modules.map((module) => {
    const name = modules.length > 1 ? `Load of the experts in ${module}` : 'Load of the experts'
    return loadMap(
      name,
      about,
      rows.filter((row) => row.module === module),
    )
  })
  return [maps, loadKey()]
}

function loadMap(name: string, about: string, rows: readonly LoadRow[]): Markup {
  const experts = Math.max(...rows.map(({ loads }) => loads.length))
  return element(
    'section',
    { class: 'map', 'aria-label': name },
    element('h2', {}, name),
    element('p', { class: 'about' }, about),
    element(
      'div',
      { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': name },
      element(
        'div',
        { class: 'cells', style: `--experts: ${experts}` },
        element('span', {}),
        Array.from({ length: experts }, (_, expert) =>
          element('span', { class: 'column' }, experts <= 32 || expert % 8 === 0 ? `${expert}` : ''),
        ),
        rows.map((row) => [
          element('span', { class: 'layer' }, `${row.layer}`),
          row.loads.map((load, expert) => cell(row, expert, load)),
          Array.from({ length: experts - row.loads.length }, () => element('span', {})),
        ]),
      ),
    ),
  )
}

function cell({ name, linkOf }: LoadRow, expert: number, load: number): Markup {
  const label = `${name}, expert ${expert}: ${fixed(load, 2)} times the mean`
  const isDead = load === 0
  return element(
    linkOf ? 'a' : 'span',
    {
      class: isDead ? 'dead' : `l${stepOf(load)}`,
      href: linkOf?.(expert),
      title: isDead ? `${label}, dead: no token chose it` : label,
      ...(linkOf && { 'aria-label': label }),
    },
    isDead ? '×' : '',
  )
}

/** Step of the colour of a load: equal factors above and below the mean have opposite colours, up to four times. */
const stepOf = (load: number): number => {
  const share = 0.5 + Math.log(load) / Math.log(4) / 2
  return Math.round(Math.min(1, Math.max(0, share)) * (COLOURS - 1))
}

/** The meaning of the colours. */
function loadKey(): Markup {
  const marks: readonly [string, number][] = [
    ['¼', 0.25],
    ['½', 0.5],
    ['1', 1],
    ['2', 2],
    ['4', 4],
  ]
  return element(
    'p',
    { class: 'key' },
    'Times the mean: ',
    marks.map(([label, load]) => element('span', { class: `l${stepOf(load)}` }, label)),
    element('span', { class: 'dead' }, '×'),
    ' dead',
  )
}

const colours = Array.from({ length: COLOURS }, (_, step) => {
  const colour = colourAlong(diverging.light, step / (COLOURS - 1))
  return `.l${step} { background: ${colour}; color: ${inkOn(colour)} }`
})

/** The style of maps, added to the style of a report. */
export const loadMapStyle = `
.cells { display: grid; grid-template-columns: max-content repeat(var(--experts), minmax(14px, 1fr)); gap: 2px; padding: 3px }
.cells > a, .cells > span { display: block; height: 24px; border-radius: 2px; text-decoration: none; text-align: center; line-height: 24px }
.cells > a:hover, .cells > a:focus-visible { outline: 2px solid var(--text); outline-offset: 0 }
/* A number may be wider than its column. */
.cells > .column { height: 16px; line-height: 16px; font-size: 11px; color: var(--quiet); overflow: visible; white-space: nowrap; min-width: 0; width: 0; margin: 0 auto; display: flex; justify-content: center }
.layer { color: var(--quiet); font-size: 12px; padding-right: 8px; font-variant-numeric: tabular-nums }
.dead { border: 1px dashed var(--quiet); color: var(--quiet) }
.key { font-size: 13px; color: var(--quiet); margin: 10px 0 0 }
.key span { display: inline-block; width: 30px; text-align: center; border-radius: 2px; margin: 0 2px }
${colours.join('\n')}
@media (max-width: 900px) {
  .cells { grid-template-columns: max-content repeat(var(--experts), minmax(26px, 1fr)) }
  .cells > a, .cells > span { height: 30px; line-height: 30px }
}
`
