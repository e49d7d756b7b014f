/**
 * The figure of how cost grows, as SVG: four panels, one per axis, with tokens per second from zero.
 *
 * It has its own background, in the reader's colour scheme, so that it is readable on any page. Its two lines differ
 * in colour (blue and orange after Okabe and Ito, distinct for every kind of colour vision), dashes and marks.
 */
import { count, grouped } from '../../src/core/text/numbers.ts'
import type { Machine } from '../support/results.ts'
import { type Axis, axes, keyOf, type Point, type ScalingRow } from './scaling.ts'

const panel = { width: 400, height: 250, left: 70, right: 22, top: 40, bottom: 48 }
const HEADER_HEIGHT = 66
const size = { width: 2 * panel.width, height: HEADER_HEIGHT + 2 * panel.height + 10 }

const titles: Readonly<Record<Axis, { readonly title: string; readonly unit: string }>> = {
  experts: { title: 'Experts', unit: 'experts in a layer, one activated' },
  width: { title: 'Width', unit: 'model width, channels' },
  sequence: { title: 'Sequence', unit: 'sequence, tokens (of as many tokens a step)' },
  threads: { title: 'Threads', unit: 'threads' },
}

/** The whole step, and the step without the optimizer, whose work grows with the number of weights. */
const lines = {
  step: (row: ScalingRow) => row.tokensPerSecond,
  gradient: (row: ScalingRow) => (row.tokensPerSecond * row.stepMs) / row.gradientMs,
}

const style = `
    .back { fill: #ffffff } text { fill: #1f2328; font: 12px system-ui, sans-serif }
    .title { font-size: 14px; font-weight: 600 } .small { font-size: 11px }
    .grid { stroke: #d1d9e0; fill: none } .axis { stroke: #59636e; fill: none }
    .line { fill: none; stroke-width: 2 } .line.gradient { stroke-dasharray: 6 4 }
    .line.step { stroke: #0072b2 } .mark.step, .value.step { fill: #0072b2 }
    .line.gradient { stroke: #c04f00 } .mark.gradient, .value.gradient { fill: #c04f00 }
    .value { stroke: #ffffff; stroke-width: 4px; stroke-linejoin: round; paint-order: stroke }
    @media (prefers-color-scheme: dark) {
      .back { fill: #0d1117 } text { fill: #f0f6fc }
      .grid { stroke: #3d444d } .axis { stroke: #9198a1 }
      .line.step { stroke: #56b4e9 } .mark.step, .value.step { fill: #56b4e9 }
      .line.gradient { stroke: #e69f00 } .mark.gradient, .value.gradient { fill: #e69f00 }
      .value { stroke: #0d1117 }
    }`

/** @param rows measured so far; points without a row are omitted */
export function figure(
  series: Readonly<Record<Axis, readonly Point[]>>,
  rows: readonly ScalingRow[],
  machine: Machine,
): string {
  const found = new Map(rows.map((row) => [keyOf(row), row]))
  const panels = axes.map((axis, i) => {
    const measured = series[axis].flatMap((point) => found.get(keyOf(point)) ?? [])
    const [x, y] = [(i % 2) * panel.width, HEADER_HEIGHT + Math.floor(i / 2) * panel.height]
    return `<g transform="translate(${x} ${y})">${panelOf(axis, measured)}</g>`
  })
  const [first] = rows
  const about = first
    ? `Choir, shape ${first.shape}, top-1, dropless, float32 on ${first.provider}; ${machine.cpu}`
    : ''
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="Tokens a second of training against experts, width, sequence and threads">
  <style>${style}
  </style>
  <rect class="back" width="${size.width}" height="${size.height}" rx="6"/>
  <text x="${panel.left}" y="24" class="title">Tokens a second of training</text>
  <text x="${panel.left}" y="42" class="small">${escaped(about)}</text>
  ${legend(panel.left, 58)}
  ${panels.join('\n  ')}
</svg>
`
}

function legend(x: number, y: number): string {
  const entry = (name: keyof typeof lines, at: number, text: string) =>
    `<path class="line ${name}" d="M${at} ${y - 4}h28"/>${mark(name, at + 14, y - 4)}<text x="${at + 34}" y="${y}" class="small">${text}</text>`
  return (
    entry('step', x, 'a whole step') + entry('gradient', x + 130, 'forward and backward alone, without the optimizer')
  )
}

function panelOf(axis: Axis, rows: readonly ScalingRow[]): string {
  const { left, right, top, bottom, width, height } = panel
  const { title, unit } = titles[axis]
  const ticks = ticksTo(Math.max(0, ...rows.flatMap((row) => [lines.step(row), lines.gradient(row)])))
  const highest = ticks.at(-1) ?? 1
  const [plotWidth, inset] = [width - left - right, 30]
  const x = (i: number) => left + inset + (rows.length < 2 ? 0 : (i * (plotWidth - 2 * inset)) / (rows.length - 1))
  const y = (value: number) => height - bottom - (value / highest) * (height - bottom - top)
  const grid = ticks.map(
    (tick) =>
      `<path class="${tick === 0 ? 'axis' : 'grid'}" d="M${left} ${round(y(tick))}h${plotWidth}"/>` +
      `<text x="${left - 8}" y="${round(y(tick) + 4)}" text-anchor="end" class="small">${grouped(tick)}</text>`,
  )
  const labels = rows.map(
    (row, i) =>
      `<text x="${round(x(i))}" y="${height - bottom + 16}" text-anchor="middle">${grouped(row[axis])}</text>`,
  )
  const points = (['gradient', 'step'] as const).flatMap((name) =>
    rows.map((row, i) => ({ name, x: round(x(i)), y: round(y(lines[name](row))), value: lines[name](row) })),
  )
  const curves = (['gradient', 'step'] as const).map((line) => {
    const path = points.filter(({ name }) => name === line).map(({ x, y }) => `${x} ${y}`)
    return `<path class="line ${line}" d="M${path.join('L')}"/>`
  })
  const marks = points.map(({ name, x, y }) => mark(name, x, y))
  // Labels are below the lower line and above the upper line. The whole step is always the lower line.
  const values = points.map(
    ({ name, x, y, value }) =>
      `<text x="${x}" y="${round(name === 'step' ? y + 18 : y - 9)}" text-anchor="middle" class="small value ${name}">${count(value)}</text>`,
  )
  return [
    `<text x="${left}" y="${top - 16}" class="title">${title}</text>`,
    `<text transform="translate(12 ${round((top + height - bottom) / 2)}) rotate(-90)" text-anchor="middle" class="small">tokens/s</text>`,
    `<text x="${left + plotWidth / 2}" y="${height - bottom + 34}" text-anchor="middle" class="small">${unit}</text>`,
    ...grid,
    ...labels,
    ...(rows.length > 0
      ? [...curves, ...values, ...marks]
      : [`<text x="${left + 8}" y="${top + 20}">not measured</text>`]),
  ].join('\n    ')
}

/** A circle for the whole step, a square for the gradient. */
function mark(name: keyof typeof lines, x: number, y: number): string {
  return name === 'step'
    ? `<circle class="mark ${name}" cx="${x}" cy="${y}" r="4"/>`
    : `<path class="mark ${name}" d="M${x - 4} ${y - 4}h8v8h-8z"/>`
}

/** 0 and at most five round numbers. The last is at least a sixth above `max`, as room for labels. */
function ticksTo(max: number): number[] {
  if (!(max > 0)) return [0, 1]
  const rough = (max * 7) / 6 / 5
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10)
  return Array.from({ length: 1 + Math.ceil((max * 7) / 6 / step) }, (_, i) => i * step)
}

const round = (value: number): number => Math.round(10 * value) / 10

const escaped = (text: string): string =>
  text.replace(/[&<>]/g, (character) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[character] ?? character)
