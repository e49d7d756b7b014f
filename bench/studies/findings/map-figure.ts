/**
 * Draws a map as one picture: the gain of experts over the tokens for each active parameter, with a panel for each model
 * size and a line for each number of experts. All panels have the same axes, so that sizes can be compared.
 */
import { joinWords, plural, significant } from '../../../src/core/text/numbers.ts'
import type { LineFigure } from '../../../src/tools/report/blocks.ts'
import { letters, notes, type Plane, planeOf } from '../../../src/tools/report/figures/axes.ts'
import { type Body, isNarrow } from '../../../src/tools/report/figures/body.ts'
import { curves, type PlacedSeries, placeSeries } from '../../../src/tools/report/figures/curves.ts'
import { spreadOut } from '../../../src/tools/report/figures/labels.ts'
import { legend } from '../../../src/tools/report/figures/legend.ts'
import { markOf } from '../../../src/tools/report/figures/marks.ts'
import { textLines, wrapText } from '../../../src/tools/report/figures/text.ts'
import { type Child, element } from '../../../src/tools/report/markup.ts'
import {
  linesOf,
  type MapLine,
  type MapPoint,
  measuredBreakEven,
} from '../../../src/tools/study/analysis/map/measured.ts'
import { pairsOf } from '../../../src/tools/study/analysis/map/pairs.ts'
import { anytimeNote } from '../../../src/tools/study/analysis/numbers.ts'
import type { Runs } from '../../../src/tools/study/analysis/runs.ts'
import type { Interval } from '../../../src/tools/study/statistics.ts'

export interface MapPanel {
  /** The model size in words. */
  readonly title: string
  readonly lines: readonly MapLine[]
}

/** The panels of a map: its questions that have results, each about one model size. */
export const mapPanels = (runs: Runs): MapPanel[] =>
  runs.results.questions
    .filter(({ view }) => view === 'map')
    .map((question) => ({ title: question.title, lines: linesOf(pairsOf(runs, question)) }))
    .filter(({ lines }) => lines.length > 0)

/** Number of seeds from which on intervals are drawn: that of two, and the anytime one of three, would fill the figure. */
const MIN_SEEDS = 4

/** The interval that is drawn at a point. */
const bandOf = ({ estimate: { n, interval } }: MapPoint): Interval | null => (n < MIN_SEEDS ? null : interval)

const GAP = 20

const axes = {
  x: { label: 'tokens for each active parameter', scale: 'log' },
  y: { label: 'gain over dense, nats a token', scale: 'linear' },
} as const

export function mapBody(panels: readonly MapPanel[], width: number): Body {
  const narrow = isNarrow(width)
  const columns = narrow ? 1 : Math.min(2, panels.length)
  const size = { width: (width - GAP * (columns - 1)) / columns, height: narrow ? 230 : 280, right: 30 }
  const numbers = [...new Set(panels.flatMap(({ lines }) => lines.map(({ experts }) => experts)))].sort((a, b) => a - b)
  const series = panels.map(({ lines }) => lines.map((line) => seriesOf(line, 1 + numbers.indexOf(line.experts))))
  const points = series.flat()
  const values = points.flatMap(({ y, low = [], high = [] }) => [...y, ...low, ...high])
  const inDomain = [points.flatMap(({ x }) => [...x]), values.map((value) => value ?? undefined)] as const
  let top = 0
  const drawn: Child[] = []
  for (let i = 0; i < panels.length; i += columns) {
    const row = panels.slice(i, i + columns).map((panel, column) => {
      const from = column * (size.width + GAP)
      const plane = planeOf(axes, ...inDomain, { ...size, from, above: top + 22, width: size.width })
      return panelOf(panel, series[i + column] ?? [], plane, { from, top, width: size.width })
    })
    drawn.push(row.map(({ markup }) => markup))
    top = Math.max(...row.map(({ end }) => end)) + 10
  }
  const names = [{ name: 'dense', index: 0 }, ...numbers.map((n, i) => ({ name: plural(n, 'expert'), index: i + 1 }))]
  const keys = legend(
    names.map((one) => ({ ...one, line: true })),
    width,
    top,
  )
  const banded = panels.flatMap(({ lines }) => lines.flatMap((line) => line.points.filter(bandOf)))
  const anytime = anytimeNote(banded.map(({ estimate }) => estimate)).trim()
  const small = notes(
    [
      `Bands: 95 % intervals over seeds, from ${MIN_SEEDS} seeds on. Rings on the line of the dense model, with the number of experts below: break-even.`,
      ...(anytime ? [anytime] : []),
    ],
    width,
    keys.end,
  )
  return {
    height: small.end + 4,
    markup: [drawn, keys.markup, small.markup],
    description: panels.map(describe).join(' '),
  }
}

type Series = LineFigure['series'][number]

function seriesOf({ active, experts, points }: MapLine, mark: number): Series {
  const bands = points.map(bandOf)
  const end = (i: 0 | 1) => bands.map((band) => band && -band[i])
  return {
    name: String(experts),
    x: points.map(({ tokens }) => tokens / active),
    y: points.map(({ estimate }) => -estimate.mean),
    low: end(1),
    high: end(0),
    mark,
  }
}

interface Place {
  readonly from: number
  readonly top: number
  readonly width: number
}

function panelOf(
  panel: MapPanel,
  series: readonly Series[],
  plane: Plane,
  { from, top, width }: Place,
): { markup: Child; end: number } {
  const dense = { name: 'dense', x: [...plane.x.domain], y: [0, 0], mark: 0 }
  const placed = [dense, ...series].map((one, i) => placeSeries(plane, one, one.mark ?? i))
  const words = wrapText(breakEvens(panel), letters.small, width - 4, 3)
  return {
    markup: [
      element('text', { class: 'label', x: from + 2, y: top + 16 }, `${panel.title}, ${seedsOf(panel)}`),
      plane.markup,
      curves(plane, placed),
      breakEvenMarks(panel.lines, series, plane),
      endNumbers(placed.slice(1), plane),
      textLines(words, { class: 'note', x: from + 2, y: plane.end + 10 }, 15),
    ],
    end: plane.end + 15 * words.length,
  }
}

/** Break-even: rings on the line of the dense model, with the numbers of experts below them, kept apart. */
function breakEvenMarks(lines: readonly MapLine[], series: readonly Series[], { x, y, box }: Plane): Child {
  const rings = lines
    .flatMap((line, i) => {
      const tokens = measuredBreakEven(line)
      const colour = `s${markOf(series[i]?.mark ?? 0).colour}`
      return tokens ? [{ at: x.at(tokens / line.active), name: String(line.experts), colour }] : []
    })
    .toSorted((a, b) => a.at - b.at)
  const names = spreadOut(
    rings.map(({ at }) => at),
    20,
    box.left + 10,
    box.right - 10,
  )
  const zero = y.at(0)
  return rings.map(({ at, name, colour }, i) => {
    const below = names[i] ?? at
    const leader = `M${at.toFixed(1)} ${(zero + 5).toFixed(1)}L${below.toFixed(1)} ${(box.bottom - 17).toFixed(1)}`
    return [
      element('path', { class: `leader ${colour}`, d: leader }),
      element('circle', { class: `ring ${colour}`, cx: at, cy: zero, r: 5 }),
      element('text', { class: 'halo', x: below, y: box.bottom - 5, 'text-anchor': 'middle' }, name),
    ]
  })
}

/** The number of experts after the end of each line. */
function endNumbers(placed: readonly PlacedSeries[], { box }: Plane): Child {
  const ended = placed.flatMap(({ name, end }) => (end ? [{ name, end }] : [])).toSorted((a, b) => a.end.y - b.end.y)
  const heights = spreadOut(
    ended.map(({ end }) => end.y),
    13,
    box.top,
    box.bottom,
  )
  return ended.map(({ name, end }, i) =>
    element('text', { class: 'halo', x: end.x + 9, y: (heights[i] ?? end.y) + 4 }, name),
  )
}

const seedsOf = ({ lines }: MapPanel): string => {
  const all = lines.flatMap(({ points }) => points.map(({ estimate }) => estimate.n))
  const [fewest, most] = [Math.min(...all), Math.max(...all)]
  return fewest === most ? plural(most, 'seed') : `${fewest} to ${plural(most, 'seed')}`
}

/** Where the lines of a panel, which are means over seeds, cross zero for good, in words. */
function breakEvens({ lines }: MapPanel): string {
  const found = lines.map((line) => ({ line, tokens: measuredBreakEven(line) }))
  const named = (which: typeof found) => joinWords(which.map(({ line }) => String(line.experts)))
  const [always, never] = [found.filter(({ tokens }) => tokens === 0), found.filter(({ tokens }) => tokens === null)]
  const parts = [
    ...found.flatMap(({ line: { experts, active }, tokens }) =>
      tokens ? [`${plural(experts, 'expert')} at ${significant(tokens / active)}`] : [],
    ),
    ...(always.length > 0 ? [`${named(always)} experts ahead at all lengths of training`] : []),
    ...(never.length > 0 ? [`${named(never)} experts behind at the longest training`] : []),
  ]
  return `Break-even by the mean over seeds: ${parts.join('; ')}.`
}

const describe = (panel: MapPanel): string => {
  const ends = panel.lines.map(({ active, experts, points }) => {
    const last = points.at(-1)
    return `${plural(experts, 'expert')} ${significant(-(last?.estimate.mean ?? 0))} at ${significant((last?.tokens ?? 0) / active)}`
  })
  return `${panel.title}, ${seedsOf(panel)}, gain over dense in nats a token by tokens for each active parameter: ${ends.join('; ')}. ${breakEvens(panel)}`
}
