/** Tables of a page. Cells hold text with a note, or a drawn interval. */
import type { Cell, Grid, IntervalCell } from '../blocks.ts'
import { axisFraction, isBeyond, isDrawable, isInterval } from '../interval-cells.ts'
import { type Child, element, type Markup } from '../markup.ts'

/** A focusable frame in which a wide table scrolls while the page stays. */
export const scrollFrame = (name: string, child: Child): Markup =>
  element('div', { class: 'scroll', role: 'region', 'aria-label': name, tabindex: 0 }, child)

/** @param name CSS class of the table */
export function tableElement({ columns, rows }: Grid, caption: Child, name?: string): Markup {
  const align = (i: number) => (columns[i]?.align === 'right' ? 'right' : undefined)
  return element(
    'table',
    { class: name },
    caption,
    element(
      'thead',
      {},
      element(
        'tr',
        {},
        columns.map(({ title }, i) => element('th', { scope: 'col', class: align(i) }, title)),
      ),
    ),
    element(
      'tbody',
      {},
      rows.map((row) =>
        element(
          'tr',
          {},
          // If the first column is text, it names the rows.
          columns.map((column, i) =>
            i === 0 && column.align === 'left'
              ? element('th', { scope: 'row' }, cellOf(row[i] ?? ''))
              : element('td', { class: align(i), 'data-title': name && column.title }, cellOf(row[i] ?? '')),
          ),
        ),
      ),
      rows.length === 0
        ? element('tr', {}, element('td', { class: 'none', colspan: Math.max(1, columns.length) }, 'no data yet'))
        : undefined,
    ),
  )
}

function cellOf(cell: Cell): Child {
  if (typeof cell === 'string') return cell
  if (isInterval(cell)) return isDrawable(cell) ? intervalSvg(cell) : '–'
  const { text, note, tone } = cell
  return [
    tone ? element('span', { class: `tone ${tone}` }, text) : text,
    note === undefined ? undefined : element('span', { class: 'note' }, note),
  ]
}

const WIDTH = 132
const HEIGHT = 22
const MARGIN = 8

/** Draws an interval. An end beyond the axis is an arrow, and a mean beyond it a dot after a break. */
function intervalSvg(cell: IntervalCell): Markup {
  const { mean, low, high, reach, tone } = cell
  const at = (value: number) => MARGIN + axisFraction(value, reach) * (WIDTH - 2 * MARGIN)
  const [y, zero] = [HEIGHT / 2, WIDTH / 2]
  const [from, to, middle] = [at(low), at(high), at(mean)]
  const end = (x: number, beyond: boolean, direction: -1 | 1) =>
    beyond
      ? `M${x - 4 * direction} ${y - 4}L${x + 2 * direction} ${y}L${x - 4 * direction} ${y + 4}`
      : `M${x} ${y - 4}V${y + 4}`
  const far = isBeyond(cell)
  const span = `M${round(from)} ${y}H${round(to)}${end(round(from), low < -reach, -1)}${end(round(to), high > reach, 1)}`
  const side = middle < zero ? 'left of zero' : middle > zero ? 'right of zero' : 'at zero'
  return element(
    'svg',
    {
      class: `strip ${tone}`,
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      role: 'img',
      'aria-label': `${side}${far ? ', beyond the axis' : ''}, interval ${low > 0 || high < 0 ? 'excludes' : 'includes'} zero`,
    },
    element('path', { class: 'base', d: `M2 ${y}H${WIDTH - 2}` }),
    element('path', { class: 'zero', d: `M${zero} 1V${HEIGHT - 1}` }),
    far ? breakSigns(middle - Math.sign(mean) * 11, y) : element('path', { class: 'span', d: span }),
    element('circle', { class: 'dot', cx: middle, cy: y, r: 4 }),
  )
}

/** Two slanted lines through the axis. */
const breakSigns = (x: number, y: number): Markup =>
  element('path', { class: 'break', d: `M${x - 4} ${y + 5}l4 -10M${x} ${y + 5}l4 -10` })

const round = (value: number): number => Math.round(10 * value) / 10
