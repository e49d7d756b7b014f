/** What is laid over a heat map: where time stands, and the cell that is pointed at. */
import { type ReadonlySignal, useSignalEffect } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import type { Axis } from './axis.ts'
import type { Frame } from './frame.ts'

export interface Cell {
  readonly row: number
  readonly column: number
}

/** What a cell says: a line that is read out, and more for the eye. */
export interface Facts {
  readonly line: string
  readonly more: ComponentChildren
}

interface NeedleProps {
  readonly at: ReadonlySignal<number>
  readonly across: Axis
  readonly ratio: number
}

/** Moves without anything being drawn anew. */
export function Needle({ at, across, ratio }: NeedleProps) {
  const line = useRef<HTMLDivElement>(null)
  const latest = useRef({ across, ratio })
  latest.current = { across, ratio }
  const place = () => {
    const { across, ratio } = latest.current
    const x = (across.startOf(at.value) + across.size / 2) / ratio
    if (line.current) line.current.style.transform = `translateX(${x}px)`
  }
  useSignalEffect(place)
  useEffect(place, [across, ratio])
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

interface PointedProps {
  readonly cursor: ReadonlySignal<Cell | null>
  readonly byKeys: ReadonlySignal<boolean>
  readonly across: Axis
  readonly down: Axis
  readonly ratio: number
  readonly describe: (cell: Cell) => Facts | null
  readonly frame: Frame
}

/** An outline, the facts of the cell, and for the ear what the keys came to. */
export function Pointed({ cursor, byKeys, across, down, ratio, describe, frame }: PointedProps) {
  const cell = cursor.value
  const facts = cell && cell.row < frame.rows && cell.column < frame.columns ? describe(cell) : null
  const spoken = (
    <div class="hidden" aria-live="polite">
      {byKeys.value ? facts?.line : ''}
    </div>
  )
  if (!cell || !facts) return spoken
  const px = (pixels: number) => `${pixels / ratio}px`
  const left = across.startOf(cell.column)
  const top = down.startOf(cell.row)
  const besides =
    left > across.pixels / 2
      ? { right: px(across.pixels - left + 6 * ratio) }
      : { left: px(left + across.size + 6 * ratio) }
  return (
    <>
      <Outline {...{ cell, across, down, ratio }} />
      <div class="heat-tip" style={{ ...besides, top: px(top + down.size + 6 * ratio) }}>
        {facts.more}
      </div>
      {spoken}
    </>
  )
}
