/**
 * The table of runs. All rows have the same height, so that only visible rows need to be rendered: a table of hundreds
 * of runs that change twice a second stays smooth.
 */
import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks'
import { pointAt, pointed } from '../shared/store.ts'
import { onKeys } from '../shell/shortcuts.tsx'
import { Splitter } from '../shell/splitter.tsx'
import type { Column } from './columns.ts'
import { Row, type Shown } from './row.tsx'
import type { TableRow } from './seed-groups.ts'
import {
  columns,
  columnWidths,
  idsOf,
  MAX_COLUMN,
  MIN_COLUMN,
  order,
  resetColumn,
  resizeColumn,
  rows,
  shownIds,
  showOnly,
  sortWith,
  toggleShown,
} from './table-state.ts'

const ROW_HEIGHT = 34
const HEAD_HEIGHT = 30
/** Number of rows rendered above and below the visible rows. */
const MARGIN = 6

export function RunsTable() {
  const box = useRef<HTMLDivElement>(null)
  const top = useSignal(0)
  const height = useSignal(600)
  const active = useSignal<string | null>(null)
  const first = useComputed(() => Math.max(0, Math.floor(top.value / ROW_HEIGHT) - MARGIN))
  const last = useComputed(() =>
    Math.min(rows.value.length, Math.ceil((top.value + height.value) / ROW_HEIGHT) + MARGIN),
  )

  useLayoutEffect(() => {
    const element = box.current
    if (!element) return
    const measure = new ResizeObserver(() => {
      height.value = element.clientHeight
    })
    measure.observe(element)
    return () => measure.disconnect()
  }, [height])

  useEffect(() => {
    const onActive = (action: (ids: readonly string[]) => void) => () => {
      const row = rows.value.find(({ id }) => id === active.value)
      if (row) action(idsOf(row))
    }
    const step = (by: number) => () => {
      const at = rows.value.findIndex(({ id }) => id === active.value)
      const next = at < 0 ? 0 : Math.max(0, Math.min(rows.value.length - 1, at + by))
      active.value = rows.value[next]?.id ?? null
      pointed.value = rows.value[next]?.run.id ?? null
      if (box.current) scrollToRow(box.current, next)
    }
    return onKeys({ j: step(1), k: step(-1), x: onActive(toggleShown), o: onActive(showOnly) })
  }, [active])

  const width = columns.value.length
  const widthBefore = useRef(width)
  useEffect(() => {
    // Scrolls a new column into view, in case the table is wider than its box.
    if (width > widthBefore.current && box.current) box.current.scrollLeft = box.current.scrollWidth
    widthBefore.current = width
  }, [width])
  return (
    <div
      ref={box}
      class="runs-box"
      onScroll={(event) => (top.value = event.currentTarget.scrollTop)}
      onPointerLeave={() => pointAt(null)}
    >
      <table class="runs" style={tableStyle()} aria-rowcount={rows.value.length + 1}>
        <colgroup>
          {columnWidths.value.map((pixels, index) => (
            <col key={columns.value[index]?.id} style={pixels === null ? undefined : { width: `${pixels}px` }} />
          ))}
        </colgroup>
        <thead>
          <tr aria-rowindex={1}>
            {columns.value.map((column, index) => (
              <Head key={column.id} column={column} width={columnWidths.value[index] ?? null} />
            ))}
          </tr>
        </thead>
        <tbody>
          <Space rows={first.value} width={width} />
          {rows.value.slice(first.value, last.value).map((row, index) => (
            <Row
              key={row.id}
              row={row}
              index={first.value + index}
              shown={shownOf(row)}
              active={active.value === row.id}
              activate={() => (active.value = row.id)}
            />
          ))}
          <Space rows={rows.value.length - last.value} width={width} />
        </tbody>
      </table>
    </div>
  )
}

function shownOf(row: TableRow): Shown {
  const ids = idsOf(row)
  const shown = ids.filter((id) => shownIds.value.has(id)).length
  return shown === ids.length ? 'all' : shown > 0 ? 'some' : 'none'
}

/** While the column of the name takes the width that the others leave, the table fills its box. */
function tableStyle() {
  const sum = columnWidths.value.reduce<number>(
    (total, pixels, i) => total + (pixels ?? columns.value[i]?.width ?? 0),
    0,
  )
  return columnWidths.value.includes(null) ? { width: '100%', minWidth: `${sum}px` } : { width: `${sum}px` }
}

function Head({ column, width }: { readonly column: Column; readonly width: number | null }) {
  const { id, title, numeric } = column
  const cell = useRef<HTMLTableCellElement>(null)
  const measured = useSignal(column.width)
  useLayoutEffect(() => {
    const element = cell.current
    if (!element || width !== null) return
    const measure = new ResizeObserver(() => {
      measured.value = element.offsetWidth
    })
    measure.observe(element)
    return () => measure.disconnect()
  }, [measured, width])
  return (
    <th ref={cell} scope="col" class={numeric ? 'numeric' : ''} aria-sort={sortOf(id)}>
      <button type="button" title={title} onClick={() => sortWith(id)}>
        {title}
      </button>
      <Splitter
        label={`Width of the column ${title}`}
        sideways
        size={width ?? measured.value}
        min={MIN_COLUMN}
        max={MAX_COLUMN}
        resize={(pixels) => resizeColumn(id, pixels)}
        reset={() => resetColumn(id)}
      />
    </th>
  )
}

function sortOf(id: string): 'ascending' | 'descending' | undefined {
  if (order.value.id !== id) return undefined
  return order.value.descending ? 'descending' : 'ascending'
}

/** Replaces rows that are out of view. */
function Space({ rows: count, width }: { readonly rows: number; readonly width: number }) {
  if (count <= 0) return null
  return (
    <tr>
      <td class="space" colSpan={width} style={{ height: `${count * ROW_HEIGHT}px` }} />
    </tr>
  )
}

function scrollToRow(box: HTMLDivElement, index: number): void {
  const above = index * ROW_HEIGHT
  const below = above + ROW_HEIGHT + HEAD_HEIGHT - box.clientHeight
  if (box.scrollTop > above) box.scrollTop = above
  else if (box.scrollTop < below) box.scrollTop = below
}
