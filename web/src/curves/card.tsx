/**
 * The card of a metric: title, buttons, and its values in the shown runs as a plot or a table. Out of sight it requests
 * and draws nothing.
 */
import { computed, type ReadonlySignal, type Signal, useComputed, useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import { describeMetric, metricName, metricOf } from '../../../src/core/text/metrics.ts'
import type { SeriesAnswer } from '../../../src/faces/watch/api.ts'
import { knownRuns } from '../runs/known-runs.ts'
import { styleOf } from '../runs/styles.ts'
import { problem as disconnected } from '../shared/store.ts'
import { Icon, type IconName } from '../shell/icon.tsx'
import { resetSize, resize, sizes } from '../shell/sizes.ts'
import { Splitter } from '../shell/splitter.tsx'
import { ink } from '../shell/theme.ts'
import { Chart } from './chart.tsx'
import { downloadCsv, downloadPng, downloadSvg, toCsv } from './download.ts'
import type { Figure } from './drawing/figure.ts'
import { linesOf, rangeOfX, rangeOfY } from './drawing/lines.ts'
import { rangeWithoutOutliers } from './drawing/outliers.ts'
import { prefixOf, shortName } from './metric-groups.ts'
import { SeriesLoader } from './series-loader.ts'
import { enlarged, from, logY, pinned, seedBands, toggled, visibleX, withOutliers } from './settings.ts'
import { sharedRange, useCovered } from './shared-range.ts'
import { ValueTable } from './value-table.tsx'

/** All small cards have the same height. */
const heightName = 'card'
const DEFAULT_HEIGHT = 270
const MIN_HEIGHT = 140
const MAX_HEIGHT = 800
const height = computed(() => Math.max(MIN_HEIGHT, Math.min(MAX_HEIGHT, sizes.value[heightName] ?? DEFAULT_HEIGHT)))

/** Limit of the points of a line, more than a large card has pixels. */
const MAX_POINTS = 1600

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
  const figure = useFigure(metric, loader)

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
        <Tools metric={metric} large={large} asTable={asTable} figure={figure} answer={loader.answer} />
      </header>
      {large && describeMetric(metric) && <p class="meaning">{describeMetric(metric)}</p>}
      <div class="card-body">
        {inSight.value && <Body loader={loader} figure={figure} asTable={asTable.value} large={large} />}
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

/** The lines of a metric in their ranges; null if there is nothing to draw. */
function useFigure(metric: string, loader: SeriesLoader): ReadonlySignal<Figure | null> {
  const lines = useComputed(() => linesOf(loader.answer.value?.series ?? [], knownRuns.value, seedBands.value, styleOf))
  useCovered(loader, lines)
  return useComputed(() => {
    const whole = rangeOfX(lines.value)
    const answer = loader.answer.value
    const x = whole && answer && visibleX(sharedRange(answer.x, whole))
    if (!x) return null
    const found = { metric, axis: answer.x, lines: lines.value, x, log: logY.value }
    if (withOutliers.value) {
      const y = rangeOfY(lines.value, x, logY.value)
      return y && { ...found, y }
    }
    const y = rangeWithoutOutliers(lines.value, x, logY.value)
    return y && { ...found, y, outside: y }
  })
}

/** Name and unit of a metric of Choir, with its meaning as a tooltip; the tag of any other metric. */
function Title({ metric }: CardProps) {
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

interface ToolsProps extends Required<CardProps> {
  readonly asTable: Signal<boolean>
  readonly figure: ReadonlySignal<Figure | null>
  readonly answer: ReadonlySignal<SeriesAnswer | null>
}

/** The buttons of a card: pin, show as table, download, enlarge. */
function Tools({ metric, large, asTable, figure, answer }: ToolsProps) {
  const isPinned = pinned.value.includes(metric)
  const drawn = figure.value
  const points = answer.value
  const names = () => new Map([...knownRuns.value].map(([id, { name }]) => [id, name]))
  return (
    <div class="card-tools">
      <Tool
        icon="pin"
        label={isPinned ? 'Unpin' : 'Pin to the top'}
        pressed={isPinned}
        act={() => (pinned.value = toggled(pinned.value, metric))}
      />
      <Tool icon="table" label="Show as table" pressed={asTable.value} act={() => (asTable.value = !asTable.value)} />
      <details class="menu">
        <summary aria-label="Download" title="Download">
          <Icon name="download" />
        </summary>
        {/* biome-ignore lint/a11y/noStaticElementInteractions lint/a11y/useKeyWithClickEvents: the buttons inside act; this only closes the menu */}
        <div
          class="menu-body right"
          onClick={(event) => event.currentTarget.closest('details')?.removeAttribute('open')}
        >
          <button type="button" disabled={!drawn} onClick={() => drawn && downloadPng(drawn, ink.value)}>
            Picture (PNG)
          </button>
          <button type="button" disabled={!drawn} onClick={() => drawn && downloadSvg(drawn, ink.value)}>
            Drawing (SVG)
          </button>
          <button
            type="button"
            disabled={!points}
            onClick={() => points && downloadCsv(metric, toCsv(points, names()))}
          >
            Points (CSV)
          </button>
        </div>
      </details>
      {!large && <Tool icon="expand" label="Enlarge" act={() => (enlarged.value = metric)} />}
    </div>
  )
}

interface ToolProps {
  readonly icon: IconName
  readonly label: string
  readonly pressed?: boolean
  readonly act: () => void
}

function Tool({ icon, label, pressed, act }: ToolProps) {
  return (
    <button type="button" class="quiet" aria-label={label} title={label} aria-pressed={pressed} onClick={act}>
      <Icon name={icon} filled={icon === 'pin' && pressed === true} />
    </button>
  )
}

interface BodyProps {
  readonly loader: SeriesLoader
  readonly figure: ReadonlySignal<Figure | null>
  readonly asTable: boolean
  readonly large: boolean
}

function Body({ loader: { answer, problem }, figure, asTable, large }: BodyProps) {
  if (problem.value !== null && answer.value === null) return <p class="empty small bad">{problem.value}</p>
  if (answer.value === null) return <p class="empty small">Loading…</p>
  if (!figure.value) return <p class="empty small">{whyEmpty(answer.value)}</p>
  return (
    <>
      {!asTable && <Chart figure={figure.value} />}
      {/* A large card covers the table of runs, which is the legend of small cards. */}
      {(asTable || large) && <ValueTable {...figure.value} />}
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
