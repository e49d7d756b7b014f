/** The curve of a measure of both sides over the steps, drawn as in the dashboard. */
import { signal } from '@preact/signals'
import { useMemo } from 'preact/hooks'
import type { TrainRecord } from '../../src/faces/library/web.ts'
import { smooth, thin } from '../../src/faces/watch/runs/series.ts'
import { Segments } from '../src/controls/selection.tsx'
import { Chart } from '../src/curves/chart.tsx'
import '../src/curves/curves.css'
import type { Figure } from '../src/curves/drawing/figure.ts'
import { type Line, rangeOfX, rangeOfY } from '../src/curves/drawing/lines.ts'
import { from, to } from '../src/curves/settings.ts'
import { Swatch } from '../src/runs/swatch.tsx'
import { scheme } from '../src/shell/theme.ts'
import type { LiveRun } from './live-run.ts'
import { nameOf, openSides, runs } from './session.ts'
import { styleOfSide } from './styles.ts'

const measures = {
  loss: { text: 'Loss', hint: 'On the batches trained on, smoothed; the faint line is not. Lower is better.' },
  heldOut: { text: 'Held-out loss', hint: 'On text that is not trained on, every 50 steps. Lower is better.' },
  drop_rate: { text: 'Dropped', hint: 'Share of choices that found their expert full.' },
  load_cv: { text: 'Imbalance', hint: 'c_v of tokens per expert, before drops: 0 is perfectly even.' },
} as const

type Measure = keyof typeof measures

const measure = signal<Measure>('loss')
/** Weight of earlier values, which has the same meaning as in the dashboard. */
const SMOOTHING = 0.8
/** Limit of the points of a line, more than the plot has pixels. */
const MAX_POINTS = 1600

export function LossPanel() {
  const shown = measure.value
  const open = openSides.value.map((side) => runs[side])
  const versions = open.map(({ version }) => version.value).join()
  const names = open.map(({ side }) => nameOf(side)).join()
  const [min, max] = [from.value, to.value]
  const figure = useMemo(() => figureOf(open, shown, min, max), [shown, versions, names, min, max, scheme.value])
  return (
    <section class="pane" aria-label="Curves">
      <Segments
        label="Curve"
        labelHidden
        value={shown}
        options={Object.entries(measures).map(([value, { text }]) => ({ value: value as Measure, text }))}
        pick={(value) => (measure.value = value)}
      />
      <p class="curve-legend quiet">
        {open.map(({ side }) => (
          <span key={side}>
            <Swatch run={side} style={styleOfSide(side)} /> {side}
          </span>
        ))}
        <span>{measures[shown].hint} Left to right: steps.</span>
      </p>
      <div class="play-chart">{figure ? <Chart figure={figure} /> : <p class="empty small">No values yet.</p>}</div>
    </section>
  )
}

function figureOf(open: readonly LiveRun[], shown: Measure, min: number | null, max: number | null): Figure | null {
  const lines = open.map((run) => lineOf(run, shown)).filter(({ x }) => x.length > 0)
  const whole = rangeOfX(lines)
  if (!whole) return null
  const x = { min: min ?? whole.min, max: max ?? whole.max }
  const y = rangeOfY(lines, x, false)
  return y && x.min < x.max ? { metric: measures[shown].text, axis: 'step', lines, x, y, log: false } : null
}

function lineOf({ side, records, evaluations }: LiveRun, shown: Measure): Line {
  const line = { run: side, name: nameOf(side), style: styleOfSide(side) }
  if (shown === 'heldOut')
    return { ...line, x: evaluations.map(({ step }) => step), y: evaluations.map(({ loss }) => finite(loss)) }
  const raw = Float64Array.from(records, (record) => record[shown])
  const smoothed = smooth(raw, SMOOTHING)
  const rows = thin(Uint32Array.from(raw.keys()), raw, MAX_POINTS)
  const at = (values: Float64Array) => Array.from(rows, (row) => finite(values[row] as number))
  return { ...line, x: Array.from(rows, (row) => (records[row] as TrainRecord).step), y: at(smoothed), raw: at(raw) }
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
