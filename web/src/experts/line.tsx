/**
 * A small line over the snapshots, with the value where time stands. It shares its x axis with the heat map of
 * experts over time: a snapshot is as wide as a cell there.
 */
import { type ReadonlySignal, useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import { type Surface, useSurface } from './heat-map/surface.ts'

export type Values = ArrayLike<number | null>

interface LineProps {
  readonly title: string
  readonly hint: string
  readonly values: Values
  /** After drops, where `values` are before. */
  readonly after?: Values
  /** Where a faint line goes across. */
  readonly reference?: number
  readonly show: (value: number) => string
  readonly at: ReadonlySignal<number>
  readonly moveTo: (snapshot: number) => void
}

const HEIGHT = 44

export function Line({ title, hint, values, after, reference, show, at, moveTo }: LineProps) {
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const needle = useRef<HTMLDivElement>(null)
  const surface = useSurface(box)
  useEffect(() => {
    const context = canvas.current?.getContext('2d')
    if (context && surface && box.current)
      drawLines(context, box.current, surface, after ? [values, after] : [values], reference)
  }, [surface, values, after, reference])
  const place = () => {
    if (surface && needle.current)
      needle.current.style.transform = `translateX(${((at.value + 0.5) / Math.max(1, values.length)) * surface.width}px)`
  }
  useSignalEffect(place)
  useEffect(place)

  const move = (event: PointerEvent) => {
    if (event.buttons !== 1 || !canvas.current) return
    const area = canvas.current.getBoundingClientRect()
    const snapshot = Math.floor(((event.clientX - area.left) / area.width) * values.length)
    moveTo(Math.max(0, Math.min(values.length - 1, snapshot)))
  }
  const said = (all: Values) => {
    const value = all[Math.min(at.value, all.length - 1)]
    return value === null || value === undefined ? '–' : show(value)
  }
  return (
    <figure class="line" title={hint}>
      <figcaption class="line-title">
        <span>{title}</span>
        <output class="line-value">
          {said(values)}
          {after && <span class="line-after"> → {said(after)}</span>}
        </output>
      </figcaption>
      <div class="line-box line-canvas" ref={box}>
        <canvas
          ref={canvas}
          width={Math.round((surface?.width ?? 0) * (surface?.ratio ?? 1))}
          height={Math.round(HEIGHT * (surface?.ratio ?? 1))}
          role="img"
          aria-label={`${title} over the snapshots`}
          onPointerDown={(event) => {
            canvas.current?.setPointerCapture(event.pointerId)
            move(event)
          }}
          onPointerMove={move}
        />
        <div class="needle" ref={needle} />
      </div>
    </figure>
  )
}

function drawLines(
  context: CanvasRenderingContext2D,
  box: HTMLElement,
  surface: Surface,
  lines: readonly Values[],
  reference: number | undefined,
) {
  const { ratio } = surface
  const width = surface.width * ratio
  context.clearRect(0, 0, width, HEIGHT * ratio)
  const style = getComputedStyle(box)
  let highest = reference ?? 0
  for (const line of lines) for (let i = 0; i < line.length; i++) highest = Math.max(highest, line[i] ?? 0)
  const room = 3 * ratio
  const y = (value: number) => HEIGHT * ratio - room - (value / (highest || 1)) * (HEIGHT * ratio - 2 * room)
  if (reference !== undefined) {
    context.fillStyle = style.color
    context.globalAlpha = 0.25
    context.fillRect(0, Math.round(y(reference)), width, Math.round(ratio))
  }
  context.lineJoin = 'round'
  lines.forEach((line, which) => {
    context.lineWidth = (which === 0 ? 1.5 : 1.25) * ratio
    context.strokeStyle = which === 0 ? style.caretColor : style.color
    context.globalAlpha = which === 0 ? 1 : 0.55
    context.setLineDash(which === 0 ? [] : [3 * ratio, 2 * ratio])
    context.stroke(pathOf(line, width, y))
  })
}

/** Where many snapshots fall on a pixel, its lowest and highest value. */
function pathOf(values: Values, width: number, y: (value: number) => number): Path2D {
  const path = new Path2D()
  const each = Math.max(1, Math.floor(values.length / Math.max(1, width)))
  let down = false
  for (let from = 0; from < values.length; from += each) {
    let low = Number.POSITIVE_INFINITY
    let high = Number.NEGATIVE_INFINITY
    for (let i = from; i < Math.min(values.length, from + each); i++) {
      const value = values[i]
      if (value === null || value === undefined) continue
      low = Math.min(low, value)
      high = Math.max(high, value)
    }
    if (low > high) {
      down = false
      continue
    }
    const x = ((from + each / 2) / values.length) * width
    if (down) path.lineTo(x, y(high))
    else path.moveTo(x, y(high))
    if (low < high) path.lineTo(x, y(low))
    down = true
  }
  return path
}
