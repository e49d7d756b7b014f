/** A card shows a metric as a plot or a table, with buttons. Out of sight it requests and draws nothing. */
import { computed, type ReadonlySignal, useComputed, useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { describeMetric, metricName, metricOf } from '../../../src/core/text/metrics.ts'
import type { SeriesAnswer } from '../../../src/faces/watch/api.ts'
import { styleOf } from '../runs/styles.ts'
import { resetSize, resize, sizes } from '../shell/sizes.ts'
import { Splitter } from '../shell/splitter.tsx'
import { problem as disconnected } from '../store.ts'
import { CardTools } from './card-tools.tsx'
import { Chart } from './chart.tsx'
import type { Figure } from './drawing/figure.ts'
import { linesOf, rangeOfX, rangeOfY } from './drawing/lines.ts'
import { rangeWithoutOutliers } from './drawing/outliers.ts'
import { knownRuns } from './series/known-runs.ts'
import { prefixOf, shortName } from './series/metric-groups.ts'
import { SeriesLoader } from './series/series-loader.ts'
import { from, logY, seedBands, to, withOutliers } from './settings.ts'
import { ValueTable } from './value-table.tsx'

/** Limit of the points of a line, more than a large card has pixels. */
const MAX_POINTS = 1600

/** All small cards have the same height. */
const heightName = 'card'
const DEFAULT_HEIGHT = 270
const MIN_HEIGHT = 140
const MAX_HEIGHT = 800
const height = computed(() => Math.max(MIN_HEIGHT, Math.min(MAX_HEIGHT, sizes.value[heightName] ?? DEFAULT_HEIGHT)))

interface CardProps {
  readonly metric: string
  /** Whether it fills the window. */
  readonly large?: boolean
}

export function Card({ metric, large = false }: CardProps) {
  const card = useRef<HTMLElement>(null)
  const inSight = useSignal(false)
  const asTable = useSignal(false)
  const loader = useMemo(() => new SeriesLoader(metric, large ? MAX_POINTS : MAX_POINTS / 2), [metric, large])

  useEffect(() => {
    const element = card.current
    if (!element) return
    const watcher = new IntersectionObserver(
      (entries) => {
        inSight.value = entries.at(-1)?.isIntersecting ?? false
      },
      { rootMargin: '150px' },
    )
    watcher.observe(element)
    return () => watcher.disconnect()
  }, [inSight])

  useEffect(() => loader.follow(inSight), [loader, inSight])

  const lines = useComputed(() => linesOf(loader.answer.value?.series ?? [], knownRuns.value, seedBands.value, styleOf))
  const figure = useComputed<Figure | null>(() => {
    const whole = rangeOfX(lines.value)
    const answer = loader.answer.value
    if (!whole || !answer) return null
    const x = { min: from.value ?? whole.min, max: to.value ?? whole.max }
    const found = { metric, axis: answer.x, lines: lines.value, x, log: logY.value }
    if (x.min >= x.max) return null
    if (withOutliers.value) {
      const y = rangeOfY(lines.value, x, logY.value)
      return y && { ...found, y }
    }
    const y = rangeWithoutOutliers(lines.value, x, logY.value)
    return y && { ...found, y, outside: y }
  })

  return (
    <article
      ref={card}
      class={large ? 'card large' : 'card'}
      style={large ? undefined : { height: `${height.value}px` }}
      aria-label={metricName(metric)}
      data-metric={metric}
      aria-busy={loader.loading.value}
    >
      <header>
        <Title metric={metric} />
        <CardTools metric={metric} figure={figure} answer={loader.answer} asTable={asTable} large={large} />
      </header>
      {large && describeMetric(metric) && <p class="meaning">{describeMetric(metric)}</p>}
      <div class="card-body">
        {inSight.value && <CardBody loader={loader} figure={figure} asTable={asTable} large={large} />}
      </div>
      {!large && (
        <Splitter
          label="Height of the curves"
          sideways={false}
          size={height.value}
          min={MIN_HEIGHT}
          max={MAX_HEIGHT}
          resize={(pixels) => resize(heightName, pixels)}
          reset={() => resetSize(heightName)}
        />
      )}
    </article>
  )
}

/** Name and unit of a metric of Choir, with its meaning as a tooltip; the tag of any other metric. */
function Title({ metric }: { readonly metric: string }) {
  const known = metricOf(metric)
  if (!known)
    return (
      <h3 title={metric}>
        <span class="quiet">{prefixOf(metric)}/</span>
        {shortName(metric)}
      </h3>
    )
  return (
    <h3 title={`${metric}: ${describeMetric(metric)}`}>
      {known.name}
      {known.unit !== null && <span class="quiet unit">{known.unit}</span>}
    </h3>
  )
}

interface CardBodyProps {
  readonly loader: SeriesLoader
  readonly figure: ReadonlySignal<Figure | null>
  readonly asTable: ReadonlySignal<boolean>
  readonly large: boolean
}

function CardBody({ loader, figure, asTable, large }: CardBodyProps) {
  const { answer, problem } = loader
  if (problem.value !== null && answer.value === null) return <p class="empty small bad">{problem.value}</p>
  if (answer.value === null) return <p class="empty small">Loading…</p>
  if (!figure.value) return <p class="empty small">{whyEmpty(answer.value)}</p>
  const { metric, axis, lines } = figure.value
  return (
    <>
      {!asTable.value && <Chart figure={figure.value} />}
      {/* A large card covers the table of runs, which is the legend of small cards. */}
      {(asTable.value || large) && <ValueTable metric={metric} axis={axis} lines={lines} />}
      {/* After a failed request, the previous values stay visible. */}
      {problem.value !== null && disconnected.value === null && <p class="card-problem bad">{problem.value}</p>}
    </>
  )
}

function whyEmpty({ series }: SeriesAnswer): string {
  if (series.every(({ x }) => x.length === 0))
    return from.value === null ? 'No values yet.' : 'No values in this range.'
  return logY.value ? 'No positive values; a logarithmic axis cannot show others.' : 'No finite values.'
}
