/** The plot of a card with its tooltip. Keeps the uPlot instance in step with the component's props. */
import { useSignal } from '@preact/signals'
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks'
import { metricName } from '../../../src/core/text/metrics.ts'
import { formatValue } from '../shared/format-value.ts'
import { pointed } from '../shared/store.ts'
import { ink } from '../shell/theme.ts'
import type { Figure } from './drawing/figure.ts'
import { type HoverPoint, readings } from './drawing/lines.ts'
import { axisTitles } from './drawing/ticks.ts'
import { Plot } from './plot.ts'
import { wholeRange, withOutliers, zoomTo } from './settings.ts'
import { Tooltip } from './tooltip.tsx'

export function Chart({ figure }: { readonly figure: Figure }) {
  const { metric, axis, lines, x, y, log, mark } = figure
  const host = useRef<HTMLDivElement>(null)
  const plot = useRef<Plot | null>(null)
  const point = useSignal<HoverPoint | null>(null)
  const colors = ink.value

  // Axis, scale and colours need a new plot; everything else updates the existing one.
  useLayoutEffect(() => {
    if (!host.current) return
    const created = new Plot(host.current, { axis, log, ink: colors }, figure, {
      zoom: (range) => {
        if (!range) return wholeRange()
        const span = range.max - range.min
        zoomTo([rounded(range.min, span), rounded(range.max, span)])
      },
      hover: (at) => (point.value = at),
    })
    plot.current = created
    return () => {
      plot.current = null
      created.destroy()
    }
  }, [axis, log, colors])

  useEffect(() => plot.current?.show({ lines, x, y, mark }), [lines, x.min, x.max, y.min, y.max, mark])

  useLayoutEffect(() => {
    const element = host.current
    if (!element) return
    const measure = new ResizeObserver(() => plot.current?.resize(element.clientWidth, element.clientHeight))
    measure.observe(element)
    return () => measure.disconnect()
  }, [])

  const found = point.value ? readings(lines, point.value, x, log) : []
  const closest = found.find((reading) => reading.closest)
  const emphasised = closest?.line.run ?? pointed.value
  useEffect(() => plot.current?.emphasise(emphasised), [emphasised, axis, log, colors])

  const label = useMemo(() => labelOf(figure), [figure])
  return (
    <div class="chart">
      <div ref={host} class="plot" role="img" aria-label={label} />
      {figure.outside && (
        <>
          <OutsideNote edge="above" sign="▲" text="up to" value={figure.outside.above} />
          <OutsideNote edge="below" sign="▼" text="down to" value={figure.outside.below} />
        </>
      )}
      {point.value && <Tooltip place={point.value} axis={axis} readings={found} of={lines.length} />}
      {lines.length > 0 ? null : <span class="hidden">{metricName(metric)} has no values here</span>}
    </div>
  )
}

interface OutsideNoteProps {
  readonly edge: 'above' | 'below'
  readonly sign: string
  readonly text: string
  readonly value: number | null
}

/** A note at the edge of a plot that values lie beyond it. A press on it shows these values in all plots. */
function OutsideNote({ edge, sign, text, value }: OutsideNoteProps) {
  if (value === null) return null
  const range = `${text} ${formatValue(value)}`
  return (
    <button
      type="button"
      class={`outside outside-${edge}`}
      title={`Values ${edge} the axis are outliers, ${range}. Press to show all values.`}
      onClick={() => (withOutliers.value = true)}
    >
      <span aria-hidden="true">{sign}</span> {range}
      <span class="hidden"> {edge} the axis: show all values</span>
    </button>
  )
}

/** Rounds to about a thousandth of the range, so that the address has no more digits than a drag is precise. */
function rounded(value: number, span: number): number {
  const step = 10 ** Math.floor(Math.log10(span / 1000))
  return Number((Math.round(value / step) * step).toPrecision(12))
}

function labelOf({ metric, axis, lines }: Figure): string {
  const values = lines
    .slice(0, 5)
    .map(({ name, y }) => `${name} ${formatValue(y.findLast((value) => value !== null))}`)
    .join(', ')
  const more = lines.length > 5 ? `, and ${lines.length - 5} more` : ''
  const count = lines.length === 1 ? '1 line' : `${lines.length} lines`
  return `${metricName(metric)} over ${axisTitles[axis].toLowerCase()}, ${count}. Last values: ${values}${more}`
}
