/** Elements on top of a heat map: a line at the current time, and the cell under the pointer. */
import { type ReadonlySignal, useSignalEffect } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { Axis } from './axis.ts'
import type { Frame } from './frame.ts'

export interface Cell {
  readonly row: number
  readonly column: number
}

/** Description of a cell: a line for screen readers, and the contents of the tooltip. */
export interface CellText {
  readonly line: string
  readonly more: ComponentChildren
}

interface NeedleProps {
  readonly at: ReadonlySignal<number>
  readonly across: Axis
  readonly ratio: number
}

/** The line at the current snapshot, which moves without a redraw of the map. */
export function Needle({ at, across, ratio }: NeedleProps) {
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

export function Outline({ cell, across, down, ratio }: OutlineProps) {
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
export function Cursor({ cursor, byKeys, across, down, ratio, describe, frame }: CursorProps) {
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
