/**
 * A small line over the snapshots, with its value at the current snapshot. It shares its x axis with the heat map of
 * experts over time: a snapshot is as wide as a cell there.
 */
import { type ReadonlySignal, useSignalEffect } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { percent } from '../../../src/core/text/numbers.ts'
import type { RouterInfo, RoutingHistory } from '../../../src/faces/watch/api.ts'
import { type Display, useDisplay } from './use-display.ts'

type Values = ArrayLike<number | null>

interface SparklineProps {
  readonly title: string
  readonly hint: string
  readonly values: Values
  /** Values after drops, if `values` are before drops. */
  readonly after?: Values
  /** The value of a faint horizontal line. */
  readonly reference?: number
  readonly format: (value: number) => string
  readonly at: ReadonlySignal<number>
  readonly moveTo: (snapshot: number) => void
}

const HEIGHT = 44

export function Sparkline({ title, hint, values, after, reference, format, at, moveTo }: SparklineProps) {
  const box = useRef<HTMLDivElement>(null)
  const canvas = useRef<HTMLCanvasElement>(null)
  const needle = useRef<HTMLDivElement>(null)
  const display = useDisplay(box)
  useEffect(() => {
    const context = canvas.current?.getContext('2d')
    if (context && display && box.current)
      drawLines(context, box.current, display, after ? [values, after] : [values], reference)
  }, [display, values, after, reference])
  const placeNeedle = () => {
    if (display && needle.current)
      needle.current.style.transform = `translateX(${((at.value + 0.5) / Math.max(1, values.length)) * display.width}px)`
  }
  useSignalEffect(placeNeedle)
  useEffect(placeNeedle)

  const move = (event: PointerEvent) => {
    if (event.buttons !== 1 || !canvas.current) return
    const area = canvas.current.getBoundingClientRect()
    const snapshot = Math.floor(((event.clientX - area.left) / area.width) * values.length)
    moveTo(Math.max(0, Math.min(values.length - 1, snapshot)))
  }
  const textOf = (series: Values) => {
    const value = series[Math.min(at.value, series.length - 1)]
    return value === null || value === undefined ? '–' : format(value)
  }
  return (
    <figure class="line" title={hint}>
      <figcaption class="line-title">
        <span>{title}</span>
        <output class="line-value">
          {textOf(values)}
          {after && <span class="line-after"> → {textOf(after)}</span>}
        </output>
      </figcaption>
      <div class="line-box line-canvas" ref={box}>
        <canvas
          ref={canvas}
          width={Math.round((display?.width ?? 0) * (display?.ratio ?? 1))}
          height={Math.round(HEIGHT * (display?.ratio ?? 1))}
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
  display: Display,
  lines: readonly Values[],
  reference: number | undefined,
) {
  const { ratio } = display
  const width = display.width * ratio
  context.clearRect(0, 0, width, HEIGHT * ratio)
  const style = getComputedStyle(box)
  let max = reference ?? 0
  for (const line of lines) for (let i = 0; i < line.length; i++) max = Math.max(max, line[i] ?? 0)
  const margin = 3 * ratio
  const y = (value: number) => HEIGHT * ratio - margin - (value / (max || 1)) * (HEIGHT * ratio - 2 * margin)
  if (reference !== undefined) {
    context.fillStyle = style.color
    context.globalAlpha = 0.25
    context.fillRect(0, Math.round(y(reference)), width, Math.round(ratio))
  }
  context.lineJoin = 'round'
  lines.forEach((line, index) => {
    context.lineWidth = (index === 0 ? 1.5 : 1.25) * ratio
    context.strokeStyle = index === 0 ? style.caretColor : style.color
    context.globalAlpha = index === 0 ? 1 : 0.55
    context.setLineDash(index === 0 ? [] : [3 * ratio, 2 * ratio])
    context.stroke(pathOf(line, width, y))
  })
}

/** The path of a line. If several snapshots share a pixel, it passes through their lowest and highest value. */
function pathOf(values: Values, width: number, y: (value: number) => number): Path2D {
  const path = new Path2D()
  const stride = Math.max(1, Math.floor(values.length / Math.max(1, width)))
  let isPenDown = false
  for (let from = 0; from < values.length; from += stride) {
    let low = Number.POSITIVE_INFINITY
    let high = Number.NEGATIVE_INFINITY
    for (let i = from; i < Math.min(values.length, from + stride); i++) {
      const value = values[i]
      if (value === null || value === undefined) continue
      low = Math.min(low, value)
      high = Math.max(high, value)
    }
    if (low > high) {
      isPenDown = false
      continue
    }
    const x = ((from + stride / 2) / values.length) * width
    if (isPenDown) path.lineTo(x, y(high))
    else path.moveTo(x, y(high))
    if (low < high) path.lineTo(x, y(low))
    isPenDown = true
  }
  return path
}

interface RouterLinesProps {
  readonly history: RoutingHistory
  readonly router: RouterInfo
  readonly at: ReadonlySignal<number>
  readonly moveTo: (snapshot: number) => void
}

const decimals = (value: number) => value.toFixed(2)

export function RouterLines({ history, router, at, moveTo }: RouterLinesProps) {
  const time = { at, moveTo }
  const experts = router.experts / router.prototypes
  const largest = Math.log(experts)
  const shares = useMemo(
    () => history.gate_entropy.map((nats) => (nats === null || largest === 0 ? null : nats / largest)),
    [history, largest],
  )
  return (
    <>
      <Sparkline
        title="Load c_v"
        hint="Coefficient of variation: standard deviation of tokens per expert over their mean, before drops and after. 0 is perfectly even."
        values={history.load_cv}
        after={history.load_cv_kept}
        format={decimals}
        {...time}
      />
      <Sparkline
        title="Drop rate"
        hint="Share of assignments dropped because their expert was full."
        values={history.drop_rate}
        format={percent}
        {...time}
      />
      <Sparkline
        title="Total gate"
        hint="Sum of the gates of a token's kept choices, averaged over tokens: the factor by which the output of its experts is scaled. 0 for a token that no expert computed."
        values={history.gate_mean}
        format={decimals}
        {...time}
      />
      <Sparkline
        title="Entropy share"
        hint={`Entropy of the router's distribution, averaged over tokens, over the largest possible, ln ${experts} = ${decimals(largest)} nats. Low: the router is sure of its choice. Near 100 % (the faint line): it prefers no expert.`}
        values={shares}
        reference={1}
        format={(share) => percent(share, 0)}
        {...time}
      />
      <Sparkline
        title="Dead experts"
        hint="Number of experts without a token."
        values={history.dead_experts}
        format={(experts) => String(experts)}
        {...time}
      />
      <Sparkline
        title="Largest load"
        hint="Load of the most loaded expert over the mean, before drops."
        values={history.max_over_mean}
        format={(times) => `${times.toFixed(1)}×`}
        {...time}
      />
    </>
  )
}
