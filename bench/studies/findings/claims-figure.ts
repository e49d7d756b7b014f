/**
 * Draws claims with their effects as rows of intervals. Where a claim expects its effect is tinted, differences that are
 * too small to matter are shaded, and the colour of an interval is its answer. So a claim holds where a blue interval
 * lies in the blue tint. A narrow figure has the texts of a row above its interval.
 */
import { symbol, symbolCircle, symbolCross, symbolDiamond, symbolSquare, symbolStar, symbolTriangle } from 'd3-shape'
import { oppositesOf, type Scheme } from '../../../src/core/charts/palette.ts'
import { linearTicks } from '../../../src/core/charts/ticks.ts'
import { letters, notes, rowLine, rowsPlane } from '../../../src/tools/report/figures/axes.ts'
import { type Body, isNarrow } from '../../../src/tools/report/figures/body.ts'
import { legend } from '../../../src/tools/report/figures/legend.ts'
import { type Scale, scaleOf } from '../../../src/tools/report/figures/scale.ts'
import { ink } from '../../../src/tools/report/figures/style.ts'
import { textWidth } from '../../../src/tools/report/figures/text.ts'
import { type Child, element, type Markup } from '../../../src/tools/report/markup.ts'
import type { Answer } from '../../../src/tools/study/analysis/claims/decision.ts'
import type { ShownClaim, ShownClaims, ShownEffect } from './claims.ts'

const tones: Readonly<Record<Answer, string>> = { holds: 'for', 'does not hold': 'against', undecided: 'open' }

const coloursOf = (scheme: Scheme): string => {
  const [agrees, disagrees] = oppositesOf(scheme)
  const { back, text, quiet, axis } = ink[scheme]
  return `
.plot .claimed { fill: ${agrees}; fill-opacity: ${scheme === 'dark' ? 0.18 : 0.13} } .plot .paper { fill: ${text} } .plot .margin { fill: ${axis} }
.plot .for { stroke: ${agrees}; fill: ${agrees} } .plot .against { stroke: ${disagrees}; fill: ${disagrees} }
.plot .open { stroke: ${quiet}; fill: ${back} } .plot .set { stroke: ${quiet}; fill: ${quiet} }
`
}

/** Rules in addition to the style of figures. */
export const claimStyle = `.plot .margin { fill-opacity: 0.26 } .plot text.strong { font-weight: 600 }
${coloursOf('light')}@media screen and (prefers-color-scheme: dark) {${coloursOf('dark')}}
`

/** Shapes of the sets of runs, with their areas in square pixels: a star is wider than a circle of its area. */
const shapes = [
  [symbolDiamond, 52],
  [symbolCircle, 52],
  [symbolSquare, 52],
  [symbolTriangle, 46],
  [symbolStar, 30],
  [symbolCross, 40],
] as const

/** Height of a line of text, in pixels. */
const LINE = 16

export function claimsBody({ sets, claims, margin, tested }: ShownClaims, width: number): Body {
  const layout = layoutOf(claims, width)
  const [nats, ratios] = [false, true].map((isRatio) => scaleFor(claims, isRatio, layout))
  if (!nats || !ratios) throw new Error('internal: no scale')
  const keys = keysOf(sets, margin, width)
  const begin = keys.end + 26
  let top = begin
  const rows = claims.map((claim) => {
    const row = rowOf(claim, claim.isRatio ? ratios : nats, margin, top, layout)
    top = row.end
    return row.markup
  })
  const small = notes(
    [
      `°: the answer does not survive Holm's correction for all ${tested} claims. Only the answers of the first runs (diamonds) are corrected.`,
    ],
    width,
    top + 46,
  )
  const { left, right } = layout
  return {
    height: small.end + 2,
    markup: [
      keys.markup,
      headings(nats, begin - 8, layout),
      rowsPlane(nats, 'difference in loss, nats a token', { left, right, top: begin, bottom: top }, width),
      rowLine(begin, width),
      rows,
      small.markup,
    ],
    description: claims.map(describe(sets)).join(' '),
  }
}

/** Columns from left to right: the claim, the plot, the effect and the answer. A narrow figure has claims above plots. */
interface Layout {
  readonly narrow: boolean
  readonly width: number
  /** Edges of the plot. */
  readonly left: number
  readonly right: number
  /** Right edge of the effects, and left edge of the answers. */
  readonly effect: number
  readonly answer: number
}

function layoutOf(claims: readonly ShownClaim[], width: number): Layout {
  const narrow = isNarrow(width)
  const answer = width - 100
  const longest = Math.max(...claims.map((claim) => textWidth(sourceOf(claim), letters.text)))
  return {
    narrow,
    width,
    left: narrow ? 4 : Math.min(longest + 10, 0.36 * width),
    right: answer - (narrow ? 62 : 172),
    effect: answer - 8,
    answer,
  }
}

/** The paper that makes a claim, and the comparison. */
const sourceOf = ({ paper, about }: ShownClaim): string => `${paper}: ${about}`

/** The scale of effects in nats, or of logarithms of ratios, with zero in the middle. */
function scaleFor(claims: readonly ShownClaim[], isRatio: boolean, { left, right, narrow }: Layout): Scale {
  const reach = reachOf(claims.filter((claim) => claim.isRatio === isRatio)) * (isRatio ? 1.3 : 1)
  return scaleOf('linear', [-reach, reach], [left, right], narrow ? 3 : 4)
}

/**
 * Half the length of an axis: to the farthest end of an interval. Intervals that end more than half as far again as all
 * others are left out, and drawn as arrows at the edge.
 */
function reachOf(claims: readonly ShownClaim[]): number {
  const ends = claims
    .flatMap(({ effects }) => effects.map(({ low, high }) => Math.max(-low, high)))
    .toSorted((a, b) => a - b)
  const last = ends.findLastIndex((end, i) => i === 0 || end <= 1.5 * (ends[i - 1] ?? 0))
  return ends[last] ?? 1
}

/** The legend: shapes of sets, colours of answers, and the two kinds of shading. */
function keysOf(sets: readonly string[], margin: number, width: number): { markup: Child; end: number } {
  const rows = [
    sets.map((name, i) => ({ name, draw: (x: number, y: number): Child => mark(i, 'set', x + 6, y) })),
    [
      { name: 'as claimed', draw: sampleOf('for') },
      { name: 'not as claimed', draw: sampleOf('against') },
      { name: 'undecided', draw: sampleOf('open') },
      { name: 'expected by the claim', draw: swatch('claimed') },
      { name: `no difference (< ${margin})`, draw: swatch('margin') },
    ],
  ]
  let end = 0
  const markup = rows.map((entries, row) => {
    const drawn = legend(
      entries.map(({ name }, index) => ({ name, index, line: row > 0 })),
      width,
      end,
      ({ index }, x, y) => entries[index]?.draw(x, y),
    )
    end = drawn.end
    return drawn.markup
  })
  return { markup, end }
}

const swatch =
  (tone: string) =>
  (x: number, y: number): Child =>
    element('rect', { class: tone, x, y: y - 6, width: 26, height: 12 })

const sampleOf =
  (tone: string) =>
  (x: number, y: number): Child => [
    element('path', { class: `bar ${tone}`, d: `M${x.toFixed(1)} ${y}h26` }),
    mark(0, tone, x + 13, y),
  ]

function mark(set: number, tone: string, x: number, y: number): Markup {
  const [shape, area] = shapes[set % shapes.length] as (typeof shapes)[number]
  const d = symbol(shape, area).digits(2)() ?? ''
  return element('path', { class: `mean ${tone}`, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, d })
}

function headings(x: Scale, y: number, { narrow, effect, answer }: Layout): Child {
  const zero = x.at(0)
  return [
    narrow ? undefined : element('text', { class: 'strong', x: 2, y }, 'Claim'),
    element('text', { class: 'side', x: zero - 8, y, 'text-anchor': 'end' }, '← better'),
    element('text', { class: 'side', x: zero + 8, y }, 'worse →'),
    narrow
      ? undefined
      : element('text', { class: 'strong', x: effect, y, 'text-anchor': 'end' }, 'Effect, 95 % interval'),
    element('text', { class: 'strong', x: answer, y }, 'Answer'),
  ]
}

interface Row {
  readonly markup: Child
  readonly end: number
}

function rowOf(claim: ShownClaim, x: Scale, margin: number, top: number, layout: Layout): Row {
  const { narrow, width, effect: right, answer } = layout
  const lines = LINE * claim.effects.length
  // The texts about the claim are next to its effects, or above them.
  const above = narrow ? 2 * LINE + 6 : 0
  const height = narrow ? lines + 4 : Math.max(2 * LINE + 6, lines + 8)
  const [plot, end] = [top + above, top + above + height + (claim.isRatio ? LINE + 2 : 0) + (narrow ? 5 : 0)]
  const words = narrow ? top + LINE : top + height / 2 - 4
  const first = plot + (height - lines + LINE) / 2
  return {
    markup: [
      claim.isRatio ? ratioAxis(x, plot, height, layout) : undefined,
      zone(claim, x, margin, plot, height),
      element('text', { class: 'strong halo', x: 2, y: words }, claim.name),
      element(
        'text',
        { class: 'aside halo', x: 2, y: words + LINE - 1 },
        element('tspan', { class: 'paper' }, claim.paper),
        sourceOf(claim).slice(claim.paper.length),
      ),
      claim.effects.map((effect, i) => {
        const y = first + i * LINE
        const text = narrow ? effect.value : `${effect.value} (${effect.interval})`
        return [
          interval(effect, x, y),
          element('text', { x: right, y: y + 4, 'text-anchor': 'end' }, text),
          element('text', { x: answer, y: y + 4 }, effect.answerText),
        ]
      }),
      rowLine(end, width),
    ],
    end,
  }
}

/** The region of a claim, the differences that do not matter, and zero. */
function zone({ region, inNats }: ShownClaim, x: Scale, margin: number, top: number, height: number): Child {
  const at = (value: number) => x.at(Math.min(Math.max(value, x.domain[0]), x.domain[1]))
  const area = (tone: string, low: number, high: number) =>
    element('rect', { class: tone, x: at(low), y: top, width: at(high) - at(low), height })
  return [
    inNats ? area('margin', -margin, margin) : undefined,
    area('claimed', region.low, region.high),
    element('line', { class: 'zero', x1: at(0), x2: at(0), y1: top, y2: top + height }),
  ]
}

function interval({ set, mean, low, high, answer }: ShownEffect, x: Scale, y: number): Child {
  const tone = tones[answer]
  const [begin, end] = x.domain
  if (mean < begin || mean > end) {
    const [edge, to] = mean > end ? [x.at(end), 1] : [x.at(begin), -1]
    const tip = `M${edge.toFixed(1)} ${y}l${-9 * to} -5v10z`
    return [
      element('path', { class: `bar ${tone}`, d: `M${(edge - 26 * to).toFixed(1)} ${y}h${18 * to}` }),
      element('path', { class: `mean ${tone}`, d: tip }),
    ]
  }
  const [from, to] = [x.at(Math.max(low, begin)), x.at(Math.min(high, end))]
  const ends = [low < begin ? undefined : from, high > end ? undefined : to]
  const caps = ends.map((at) => (at === undefined ? '' : `M${at.toFixed(1)} ${y - 4}v8`)).join('')
  return [
    element('path', { class: `bar ${tone}`, d: `M${from.toFixed(1)} ${y}H${to.toFixed(1)}${caps}` }),
    mark(set, tone, x.at(mean), y),
  ]
}

/** The axis of a row whose effects are ratios, drawn by their logarithms, in place of the grid of the figure. */
function ratioAxis(x: Scale, top: number, height: number, { left, right, narrow }: Layout): Child {
  const [low, high] = x.domain
  const bottom = top + height
  const area = { x: left, y: top + 1, width: right - left, height: height + LINE }
  return [
    element('rect', { class: 'back', ...area }),
    linearTicks(Math.exp(low), Math.exp(high), narrow ? 3 : 5).map(({ value, label }) => {
      const [at, text] = [x.at(Math.log(value)), `×${label}`]
      const half = textWidth(text, letters.small) / 2
      if (at - half < left || at + half > right) return undefined
      return [
        element('line', { class: 'grid', x1: at, x2: at, y1: top, y2: bottom + 3 }),
        element('text', { class: 'small', x: at, y: bottom + 14, 'text-anchor': 'middle' }, text),
      ]
    }),
  ]
}

const describe =
  (sets: readonly string[]) =>
  (claim: ShownClaim): string =>
    `${claim.name} (${sourceOf(claim)}): ${claim.effects.map(({ set, value, interval, answerText }) => `${value} (${interval}), ${answerText}, ${sets[set] ?? ''}`).join('; ')}.`
