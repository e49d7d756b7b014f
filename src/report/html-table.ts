/** Tables of a page: words with small print, and intervals drawn in a cell. */
import type { Cell, IntervalCell, Table } from './blocks.ts'
import { isDrawable, isInterval, placeOf } from './cells.ts'
import { type Child, element, type Markup } from './markup.ts'

/** A wide table moves in a frame of its own, which the keyboard reaches too, and the page stays where it is. */
export const scrolling = (name: string, child: Child): Markup =>
  element('div', { class: 'scroll', role: 'region', 'aria-label': name, tabindex: 0 }, child)

/** @param name a class of the table */
export function grid({ columns, rows }: Pick<Table, 'columns' | 'rows'>, caption: Child, name?: string): Markup {
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
          // The first column names the row, if it is made of words.
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
  if (isInterval(cell)) return isDrawable(cell) ? strip(cell) : '–'
  const { text, note, tone } = cell
  return [
    tone ? element('span', { class: `tone ${tone}` }, text) : text,
    note === undefined ? undefined : element('span', { class: 'note' }, note),
  ]
}

const WIDTH = 132
const HEIGHT = 22
const MARGIN = 8

/** Beyond an end of the axis an interval ends in an arrow. */
function strip({ mean, low, high, reach, tone }: IntervalCell): Markup {
  const at = (value: number) => MARGIN + placeOf(value, reach) * (WIDTH - 2 * MARGIN)
  const [y, zero] = [HEIGHT / 2, WIDTH / 2]
  const [from, to, middle] = [at(low), at(high), at(mean)]
  const end = (x: number, beyond: boolean, way: -1 | 1) =>
    beyond ? `M${x - 4 * way} ${y - 4}L${x + 2 * way} ${y}L${x - 4 * way} ${y + 4}` : `M${x} ${y - 4}V${y + 4}`
  const place = middle < zero ? 'left of zero' : middle > zero ? 'right of zero' : 'at zero'
  return element(
    'svg',
    {
      class: `strip ${tone}`,
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      role: 'img',
      'aria-label': low > 0 || high < 0 ? `${place}, interval clear of it` : `${place}, interval over it`,
    },
    element('path', { class: 'base', d: `M2 ${y}H${WIDTH - 2}` }),
    element('path', { class: 'zero', d: `M${zero} 1V${HEIGHT - 1}` }),
    element('path', {
      class: 'span',
      d: `M${round(from)} ${y}H${round(to)}${end(round(from), low < -reach, -1)}${end(round(to), high > reach, 1)}`,
    }),
    element('circle', { class: 'dot', cx: middle, cy: y, r: 4 }),
  )
}

const round = (value: number): number => Math.round(10 * value) / 10
