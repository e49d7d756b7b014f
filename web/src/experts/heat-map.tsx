/**
 * A heat map for pointer and arrow keys. The picture is redrawn only when the frame or the box changes; moving parts
 * (the outline of a cell, the current time) are elements on top of it.
 */

import { type ReadonlySignal, type Signal, signal, useSignal, useSignalEffect } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks'
import { type Axis, axisOf } from './axis.ts'
import { draw, paletteOf } from './draw.ts'
import type { Frame } from './frame.ts'
import { Legend } from './legend.tsx'
import type { MapFile } from './map-files.tsx'
import { MapFiles } from './map-files.tsx'
import { fittingEnd } from './scale.ts'
import { useDisplay } from './use-display.ts'
import * as view from './view.ts'

interface HeatMapProps {
  readonly frame: Frame
  readonly label: string
  /** Height of a row, in pixels of the page. */
  readonly rowHeight: number
  /** Describes a cell; null for a cell without an expert. */
  readonly describe: (cell: Cell) => CellText | null
  readonly open: (cell: Cell) => void
  /** Called for the cell that is pressed, dragged over, or reached by keys. */
  readonly drag?: (cell: Cell) => void
  /** Column of the current snapshot, marked by a line. */
  readonly at?: ReadonlySignal<number>
  /** Cells of the experts that are looked at, such as the expert whose panel is open. */
  readonly opened?: readonly Cell[]
  /** Whether the legend of colours is below; default: true. Of two maps on a page, one is enough. */
  readonly legend?: boolean
  /** Whether the map can be saved; default: if it has a legend. */
  readonly saved?: boolean
  /** What files of the map say; the names of its sides are on the page too. */
  readonly file: MapFile
  /** Characters in the longest row name. */
  readonly nameLength?: number
  /** Names of some rows and columns. */
  readonly rowNames: readonly { readonly row: number; readonly element: ComponentChildren }[]
  readonly columnNames: readonly { readonly column: number; readonly text: string }[]
}

/** Pixels of the page between prototypes. */
const GAP = 8

export function HeatMap(props: HeatMapProps) {
  const { frame, label, rowHeight, describe, open, drag, at, opened = [], legend = true, saved = legend, file } = props
  const { rowNames, columnNames } = props
  const whole = useRef<HTMLDivElement>(null)
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const { width = 0, ratio = 1, dark = false } = useDisplay(box) ?? {}
  const palette = useMemo(() => paletteOf(dark), [dark])
  const end = useScaleEnd(frame.values)
  const cursor = useSignal<Cell | null>(null)
  const byKeys = useSignal(false)

  const height = frame.rows * rowHeight + frame.rowGaps.length * GAP
  const across = useAxis(frame.columns, width * ratio, frame.columnGaps, GAP * ratio)
  const down = useAxis(frame.rows, height * ratio, frame.rowGaps, GAP * ratio)
  useEffect(() => {
    const context = canvas.current?.getContext('2d')
    if (context && across.pixels > 0) draw(context, frame, { across, down, ratio, dark, end }, palette)
  }, [frame, across, down, ratio, dark, end, palette])

  const cellOf = (event: MouseEvent): Cell => {
    const area = canvas.current?.getBoundingClientRect() ?? { left: 0, top: 0 }
    return {
      row: down.cellAt((event.clientY - area.top) * ratio),
      column: across.cellAt((event.clientX - area.left) * ratio),
    }
  }
  const point = (event: PointerEvent) => {
    const cell = cellOf(event)
    byKeys.value = false
    if (cell.row !== cursor.value?.row || cell.column !== cursor.value.column) cursor.value = cell
    if (event.buttons === 1) drag?.(cell)
  }

  return (
    <>
      <div class="heat" ref={whole} style={{ '--names': `${Math.max(44, 16 + 6.5 * (props.nameLength ?? 0))}px` }}>
        <div class="heat-names" style={{ height: `${height}px` }}>
          {rowNames.map(({ row, element }) => (
            <div
              class="heat-name"
              key={row}
              style={{ top: `${down.startOf(row) / ratio}px`, height: `${down.size / ratio}px` }}
            >
              {element}
            </div>
          ))}
        </div>
        {/* Arrow keys move from cell to cell; the cell is read out. */}
        <div
          class="heat-box"
          ref={box}
          style={{ height: `${height}px` }}
          role="application"
          aria-roledescription="heat map"
          aria-label={`${label}. Arrow keys move from cell to cell, Enter opens the expert.`}
          // biome-ignore lint/a11y/noNoninteractiveTabindex: an application takes keys
          tabIndex={0}
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={() => {
            if (!byKeys.value) cursor.value = null
          }}
          onClick={(event) => {
            // The outlined cell is opened: between two cells, the click event may be one pixel off.
            open(cursor.value ?? cellOf(event))
            cursor.value = null
          }}
          onFocus={() => {
            if (!box.current?.matches(':focus-visible')) return
            byKeys.value = true
            cursor.value ??= { row: 0, column: at?.value ?? 0 }
          }}
          onBlur={() => (cursor.value = null)}
          onKeyDown={(event) => handleKey(event, { cursor, byKeys, frame, open, drag })}
        >
          <canvas ref={canvas} width={across.pixels} height={down.pixels} />
          {opened.map((cell) => (
            <Outline key={`${cell.row} ${cell.column}`} cell={cell} {...{ across, down, ratio }} />
          ))}
          {at && <Needle at={at} across={across} ratio={ratio} />}
          <Cursor {...{ cursor, byKeys, across, down, ratio, describe, frame }} />
        </div>
        <span class="heat-rows" aria-hidden="true">
          {file.sides[0]}
        </span>
        <div class="heat-columns" aria-hidden="true">
          {fittingNames(columnNames, across, ratio).map(({ column, text, x, shift }) => (
            <span key={column} style={{ left: `${x}px`, translate: `${shift}%` }}>
              {text}
            </span>
          ))}
        </div>
      </div>
      {legend && <Legend end={end} />}
      {saved && <MapFiles file={file} frame={frame} map={whole} pixels={{ across, down, ratio, dark, end }} />}
    </>
  )
}

/** The names that do not overlap the name before; the first and the last stay within the picture. */
function fittingNames(names: HeatMapProps['columnNames'], across: Axis, ratio: number) {
  const cellWidth = across.size / ratio
  let end = Number.NEGATIVE_INFINITY
  return names.flatMap(({ column, text }) => {
    const textWidth = 6.5 * text.length + 6
    const shift = cellWidth > textWidth ? -50 : column === 0 ? 0 : column === across.cells - 1 ? -100 : -50
    // The first name begins at the edge of its cell, to leave room for the second.
    const x = across.startOf(column) / ratio + (shift === 0 ? 0 : cellWidth / 2)
    const start = x + (shift / 100) * textWidth
    if (start < end) return []
    end = start + textWidth
    return [{ column, text, x, shift }]
  })
}

/** An axis that is memoised by value, so that a new frame of the same shape keeps its axes. */
function useAxis(cells: number, pixels: number, gaps: readonly number[], between: number): Axis {
  return useMemo(
    () => axisOf(cells, Math.round(pixels), gaps, Math.round(between)),
    [cells, pixels, gaps.join(), between],
  )
}

interface KeyHandling extends Pick<HeatMapProps, 'frame' | 'open'> {
  readonly cursor: Signal<Cell | null>
  readonly byKeys: Signal<boolean>
  readonly drag: HeatMapProps['drag'] | undefined
}

function handleKey(event: KeyboardEvent, { cursor, byKeys, frame, open, drag }: KeyHandling): void {
  const current = cursor.value ?? { row: 0, column: 0 }
  const moved = movedBy(event.key, current, frame)
  if (moved) {
    cursor.value = moved
    byKeys.value = true
    drag?.(moved)
  } else if (event.key === 'Enter') open(current)
  else if (event.key === 'Escape' && cursor.value) cursor.value = null
  else return
  event.preventDefault()
}

function movedBy(key: string, { row, column }: Cell, { rows, columns }: Frame): Cell | null {
  if (key === 'ArrowLeft') return { row, column: Math.max(0, column - 1) }
  if (key === 'ArrowRight') return { row, column: Math.min(columns - 1, column + 1) }
  if (key === 'ArrowUp') return { row: Math.max(0, row - 1), column }
  if (key === 'ArrowDown') return { row: Math.min(rows - 1, row + 1), column }
  if (key === 'Home') return { row, column: 0 }
  if (key === 'End') return { row, column: columns - 1 }
  return null
}

export interface Cell {
  readonly row: number
  readonly column: number
}

/** Description of a cell: a line for screen readers, and the contents of the tooltip. */
interface CellText {
  readonly line: string
  readonly more: ComponentChildren
}

interface NeedleProps {
  readonly at: ReadonlySignal<number>
  readonly across: Axis
  readonly ratio: number
}

/** The line at the current snapshot, which moves without a redraw of the map. */
function Needle({ at, across, ratio }: NeedleProps) {
  const line = useRef<HTMLDivElement>(null)
  const latest = useRef({ across, ratio })
  latest.current = { across, ratio }
  const placeNeedle = () => {
    const { across, ratio } = latest.current
    const x = (across.startOf(at.value) + across.size / 2) / ratio
    if (line.current) line.current.style.transform = `translateX(${x}px)`
  }
  useSignalEffect(placeNeedle)
  useEffect(placeNeedle, [across, ratio])
  return <div class="needle" ref={line} />
}

interface OutlineProps {
  readonly cell: Cell
  readonly across: Axis
  readonly down: Axis
  readonly ratio: number
}

function Outline({ cell, across, down, ratio }: OutlineProps) {
  const px = (pixels: number) => `${pixels / ratio}px`
  const [left, top] = [across.startOf(cell.column), down.startOf(cell.row)]
  return (
    <div class="cell-outline" style={{ left: px(left), top: px(top), width: px(across.size), height: px(down.size) }} />
  )
}

interface CursorProps {
  readonly cursor: ReadonlySignal<Cell | null>
  readonly byKeys: ReadonlySignal<boolean>
  readonly across: Axis
  readonly down: Axis
  readonly ratio: number
  readonly describe: (cell: Cell) => CellText | null
  readonly frame: Frame
}

/** Outline and tooltip of a cell. If keys moved to the cell, screen readers read it out. */
function Cursor({ cursor, byKeys, across, down, ratio, describe, frame }: CursorProps) {
  const cell = cursor.value
  const text = cell && cell.row < frame.rows && cell.column < frame.columns ? describe(cell) : null
  const spoken = (
    <div class="hidden" aria-live="polite">
      {byKeys.value ? text?.line : ''}
    </div>
  )
  if (!cell || !text) return spoken
  const px = (pixels: number) => `${pixels / ratio}px`
  const left = across.startOf(cell.column)
  const top = down.startOf(cell.row)
  const side =
    left > across.pixels / 2
      ? { right: px(across.pixels - left + 6 * ratio) }
      : { left: px(left + across.size + 6 * ratio) }
  return (
    <>
      <Outline {...{ cell, across, down, ratio }} />
      <div class="heat-tip" style={{ ...side, top: px(top + down.size + 6 * ratio) }}>
        {text.more}
      </div>
      {spoken}
    </>
  )
}

/** The ends that fit the heat maps on the page, each by itself. */
const fitting = signal<ReadonlyMap<object, number>>(new Map())

/** @param values Loads over mean; NaN where there is no expert */
function useScaleEnd(values: Float32Array): number {
  const map = useMemo(() => ({}), [])
  const own = useMemo(() => fittingEnd(values), [values])
  useLayoutEffect(() => {
    fitting.value = new Map([...fitting.peek(), [map, own]])
  }, [own])
  useLayoutEffect(
    () => () => {
      fitting.value = new Map([...fitting.peek()].filter(([other]) => other !== map))
    },
    [],
  )
  const chosen = view.scale.value
  return chosen === 'auto' ? Math.max(own, ...fitting.value.values()) : Number(chosen)
}
