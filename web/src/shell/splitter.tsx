/**
 * An edge that resizes its element: by dragging, or by arrow keys when it has the focus. A double click, or Enter,
 * returns to the default.
 */
import { useRef } from 'preact/hooks'

/** Pixels per press of an arrow key. */
const KEY_STEP = 16

interface SplitterProps {
  readonly label: string
  /** Whether it moves sideways, and so sets a width. */
  readonly sideways: boolean
  readonly size: number
  readonly min: number
  readonly max: number
  /** Called with a size between `min` and `max`. */
  readonly resize: (size: number) => void
  readonly reset: () => void
}

export function Splitter({ label, sideways, size, min, max, resize, reset }: SplitterProps) {
  const start = useRef({ at: 0, size })
  const clamped = (wanted: number) => resize(Math.round(Math.max(min, Math.min(max, wanted))))
  const place = ({ clientX, clientY }: PointerEvent) => (sideways ? clientX : clientY)
  return (
    // biome-ignore lint/a11y/useSemanticElements: <hr> cannot be moved
    <div
      class={sideways ? 'splitter' : 'splitter splitter-below'}
      role="separator"
      tabIndex={0}
      title="Drag to resize; double-click for the default"
      aria-label={label}
      aria-orientation={sideways ? 'vertical' : 'horizontal'}
      aria-valuenow={size}
      aria-valuemin={min}
      aria-valuemax={max}
      onPointerDown={(event) => {
        event.stopPropagation()
        event.currentTarget.setPointerCapture(event.pointerId)
        start.current = { at: place(event), size }
      }}
      onPointerMove={(event) => {
        if (!event.currentTarget.hasPointerCapture(event.pointerId)) return
        clamped(start.current.size + place(event) - start.current.at)
      }}
      onDblClick={reset}
      onKeyDown={(event) => {
        const keys: Readonly<Record<string, number>> = sideways
          ? { ArrowLeft: -1, ArrowRight: 1 }
          : { ArrowUp: -1, ArrowDown: 1 }
        const by = keys[event.key]
        if (by !== undefined) clamped(size + by * KEY_STEP)
        else if (event.key === 'Enter') reset()
        else return
        event.preventDefault()
      }}
    />
  )
}
