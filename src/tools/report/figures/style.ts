/**
 * The style of figures, in pages and in files. Rules use no CSS variables, which some SVG viewers do not support.
 * Figures are light in print, and in viewers that do not support colour schemes.
 */
import { categorical, type Scheme } from '../../../core/charts/palette.ts'

interface Ink {
  readonly back: string
  readonly text: string
  readonly quiet: string
  readonly grid: string
  readonly axis: string
}

/** Colours of the background, and of all that is not data. */
export const ink: Readonly<Record<Scheme, Ink>> = {
  light: { back: '#ffffff', text: '#1f2328', quiet: '#59636e', grid: '#e1e6eb', axis: '#818b98' },
  dark: { back: '#0d1117', text: '#f0f6fc', quiet: '#9198a1', grid: '#2a3038', axis: '#79828d' },
}

/**
 * Colours of effects whose interval excludes zero, by the side of zero: the arm is better (below zero) or worse. They are
 * those of tables too, and have no other meaning.
 */
export const effectColours: Readonly<Record<Scheme, { readonly better: string; readonly worse: string }>> = {
  light: { better: '#0072b2', worse: '#b34700' },
  dark: { better: '#58a6ff', worse: '#f0883e' },
}

const shapes = `
.plot text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; unicode-bidi: isolate }
.plot text.small, .plot text.note { font-size: 11px }
.plot text.label { font-weight: 600 }
.plot text.note { font-style: italic }
.plot .halo { stroke-width: 3px; stroke-linejoin: round; paint-order: stroke }
.plot .line { fill: none; stroke-width: 2; stroke-linejoin: round }
.plot .mark { stroke-width: 1 }
.plot .band { opacity: 0.16 }
.plot .leader { fill: none; stroke-width: 1; stroke-dasharray: 1 2.5; opacity: 0.9 }
.plot .bar, .plot .interval { fill: none; stroke-width: 2 }
.plot .trend { fill: none; stroke-width: 1.5; stroke-dasharray: 6 4 }
.plot .grid, .plot .row, .plot .frame, .plot .axis, .plot .minor { fill: none; stroke-width: 1 }
.plot .detail { fill: none; stroke-width: 1; stroke-dasharray: 3 2 }
.plot .zero { stroke-width: 1.5 }
.plot .break { fill: none; stroke-width: 1.5 } .plot .break-line { fill: none; stroke-width: 1; stroke-dasharray: 3 3 }
.plot .mean { stroke-width: 2 }
.plot .seed, .plot .ring { stroke-width: 1.2; fill: none }
.plot .cells { shape-rendering: crispEdges }
.plot .hatch { stroke-width: 2 }
.plot .stripe { stroke-width: 2 }
.plot .excess { fill: none; stroke-width: 1.5 }
.plot .limit { fill: none; stroke-width: 1.5; stroke-dasharray: 5 3 }
.plot .limit-halo { fill: none; stroke-width: 4 }
.plot text.over { font-weight: 600 }
`

function coloursOf(scheme: Scheme): string {
  const { back, text, quiet, grid, axis } = ink[scheme]
  const colours = categorical[scheme]
  const { better, worse } = effectColours[scheme]
  const series = colours.map((colour, i) => `.plot .s${i} { stroke: ${colour} } .plot .f${i} { fill: ${colour} }`)
  return `
.plot .back { fill: ${back} }
.plot text { fill: ${text} }
.plot text.small, .plot text.note, .plot text.side { fill: ${quiet} }
.plot text.halo { fill: ${text}; stroke: ${back} }
.plot text.ink-dark { fill: #000000 } .plot text.ink-light { fill: #ffffff }
.plot .grid, .plot .row { stroke: ${grid} }
.plot .axis, .plot .minor, .plot .frame, .plot .missing { stroke: ${axis} }
.plot .zero, .plot .break, .plot .break-line, .plot .detail, .plot .trend, .plot .leader.neutral { stroke: ${quiet} }
.plot .mark { stroke: ${back} }
.plot .interval.left, .plot .mean.left { stroke: ${better} } .plot .mean.left { fill: ${better} }
.plot .interval.right, .plot .mean.right { stroke: ${worse} } .plot .mean.right { fill: ${worse} }
.plot .interval.open, .plot .mean.open { stroke: ${quiet} } .plot .mean.open { fill: ${back} }
.plot .seed { stroke: ${quiet} }
.plot text.aside { fill: ${quiet} }
.plot .stripe, .plot .limit-halo { stroke: ${back} } .plot .excess, .plot .limit { stroke: ${text} }
.plot .blank { fill: ${back} } .plot .hatch { stroke: ${axis} }
${series.join('\n')}
`
}

// The dark colours are for `screen` only, so that print keeps the light colours.
export const figureStyle = `${shapes}${coloursOf('light')}@media screen and (prefers-color-scheme: dark) {${coloursOf('dark')}}
`
