/** The frame of a card: title, buttons, and a plot or a table. Out of sight it requests and draws nothing. */
import { computed, type ReadonlySignal, useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { describeMetric, metricName, metricOf } from '../../../src/core/text/metrics.ts'
import { resetSize, resize, sizes } from '../shell/sizes.ts'
import { Splitter } from '../shell/splitter.tsx'
import { problem as disconnected } from '../store.ts'
import { CardTools } from './card-tools.tsx'
import { Chart } from './chart.tsx'
import type { Figure } from './drawing/figure.ts'
import { prefixOf, shortName } from './series/metric-groups.ts'
import type { PointsLoader } from './series/points-loader.ts'

/** All small cards have the same height. */
const heightName = 'card'
const DEFAULT_HEIGHT = 270
const MIN_HEIGHT = 140
const MAX_HEIGHT = 800
const height = computed(() => Math.max(MIN_HEIGHT, Math.min(MAX_HEIGHT, sizes.value[heightName] ?? DEFAULT_HEIGHT)))

interface CardFrameProps<Answer> {
  readonly metric: string
  readonly large: boolean
  /** Name of the baseline whose values are subtracted. */
  readonly minus?: string
  readonly loader: PointsLoader<Answer>
  readonly figure: ReadonlySignal<Figure | null>
  /** Makes the points as CSV; null if there are none. */
  readonly csv: ReadonlySignal<(() => string) | null>
  /** The reason why an answer has no figure. */
  readonly whyEmpty: (answer: Answer) => string
  readonly tableOf: (figure: Figure) => ComponentChildren
}

export function CardFrame<Answer>(props: CardFrameProps<Answer>) {
  const { metric, large, minus, loader, figure, csv } = props
  const card = useRef<HTMLElement>(null)
  const inSight = useSignal(false)
  const asTable = useSignal(false)

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

  const name = metricName(metric)
  return (
    <article
      ref={card}
      class={large ? 'card large' : 'card'}
      style={large ? undefined : { height: `${height.value}px` }}
      aria-label={minus === undefined ? name : `${name} minus ${minus}`}
      data-metric={metric}
      aria-busy={loader.loading.value}
    >
      <header>
        <Title metric={metric} minus={minus} />
        <CardTools metric={metric} figure={figure} csv={csv} asTable={asTable} large={large} />
      </header>
      {large && describeMetric(metric) && <p class="meaning">{describeMetric(metric)}</p>}
      <div class="card-body">{inSight.value && <CardBody {...props} asTable={asTable.value} />}</div>
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
function Title({ metric, minus }: { readonly metric: string; readonly minus: string | undefined }) {
  const known = metricOf(metric)
  const subtracted = minus !== undefined && ` minus ${minus}`
  if (!known)
    return (
      <h3 title={metric}>
        <span class="quiet">{prefixOf(metric)}/</span>
        {shortName(metric)}
        {subtracted}
      </h3>
    )
  return (
    <h3 title={`${metric}: ${describeMetric(metric)}`}>
      {known.name}
      {subtracted}
      {known.unit !== null && <span class="quiet unit">{known.unit}</span>}
    </h3>
  )
}

function CardBody<Answer>({
  loader,
  figure,
  asTable,
  large,
  whyEmpty,
  tableOf,
}: CardFrameProps<Answer> & { readonly asTable: boolean }) {
  const { answer, problem } = loader
  if (problem.value !== null && answer.value === null) return <p class="empty small bad">{problem.value}</p>
  if (answer.value === null) return <p class="empty small">Loading…</p>
  if (!figure.value) return <p class="empty small">{whyEmpty(answer.value)}</p>
  return (
    <>
      {!asTable && <Chart figure={figure.value} />}
      {/* A large card covers the table of runs, which is the legend of small cards. */}
      {(asTable || large) && tableOf(figure.value)}
      {/* After a failed request, the previous values stay visible. */}
      {problem.value !== null && disconnected.value === null && <p class="card-problem bad">{problem.value}</p>}
    </>
  )
}
