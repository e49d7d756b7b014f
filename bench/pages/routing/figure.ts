/**
 * Draws what routers do, in four panels: tokens of a text on the left, experts on the right with bars of their real
 * loads, and a line from every token to each expert that it chooses. The last panel has no lines: it shows what experts
 * with a limited capacity refuse.
 */
import { grouped, percent } from '../../../src/core/text/numbers.ts'
import { letters, notes } from '../../../src/tools/report/figures/axes.ts'
import { type Body, isNarrow } from '../../../src/tools/report/figures/body.ts'
import { truncate, wrapText } from '../../../src/tools/report/figures/text.ts'
import { type Child, element } from '../../../src/tools/report/markup.ts'
import { unpackLoads } from '../../../web/share/unpack.ts'
import type { RecordedRun, RoutingRecord } from './record.ts'

/** The router that is shown, by its index: in the second of four layers. */
const ROUTER = 1
/** Number of tokens whose choices are drawn: the first of the text. */
const TOKENS = 8
/** Heights of the row of an expert and of the heading of a panel, and space between panels, in pixels. */
const ROW = 13
const HEADING = 74
const GAP = 28
/** Space between the prototypes of a router, in pixels. */
const BETWEEN = 10

/** Rules in addition to the style of figures. */
export const routingStyle = `.plot .choice { fill: none; stroke-width: 1.8; stroke-opacity: 0.85 } .plot .refused { fill-opacity: 0.3 }
`

interface Panel {
  readonly title: string
  readonly about: string
  readonly draw: (top: number, width: number) => Child
  readonly height: number
  readonly description: string
}

/** Loads of a router's experts at the last snapshot: choices, and choices that were kept. */
interface Loads {
  readonly chosen: readonly number[]
  readonly kept: readonly number[]
}

function lastLoads({ index, loads }: Pick<RecordedRun, 'index' | 'loads'>, router: number): Loads {
  const all = unpackLoads(loads)
  const begin = ((index.steps.length - 1) * index.routers.length + router) * 2 * index.experts
  const part = (from: number) => [...all.subarray(from, from + (index.routers[router]?.experts ?? 0))]
  return { chosen: part(begin), kept: part(begin + index.experts) }
}

export function routingBody({ runs }: RoutingRecord, width: number): Body {
  const narrow = isNarrow(width)
  const panels = [
    choicesPanel('Top-1', 'The router sends every token to one expert.', runs['top-1']),
    choicesPanel('Top-2', 'Every token goes to two experts, for twice the arithmetic.', runs['top-2']),
    choicesPanel(
      'Two prototypes',
      'Experts form two groups, each with its own router. A token goes to one expert of each.',
      runs['prototypes-2x1'],
    ),
    capacityPanel(runs['no-balancing']),
  ]
  const columns = narrow ? 1 : 2
  const each = (width - (columns - 1) * GAP) / columns
  let top = 0
  let lowest = 0
  const markup = panels.map((panel, i) => {
    const column = i % columns
    if (column === 0) top = lowest + (i > 0 ? GAP : 0)
    lowest = Math.max(lowest, top + HEADING + panel.height)
    const lines = wrapText(panel.about, letters.text, each, 3)
    return element(
      'g',
      { transform: `translate(${column * (each + GAP)} 0)` },
      element('text', { class: 'label', x: 0, y: top + 13 }, panel.title),
      lines.map((line, at) => element('text', { class: 'side', x: 0, y: top + 32 + 16 * at }, line)),
      panel.draw(top + HEADING, each),
    )
  })
  const [first] = Object.values(runs)
  const small = notes(
    [
      `Layer ${first?.index.routers[ROUTER]?.layer} of four models after ${grouped(first?.step ?? 0)} steps.`,
      'Lines: choices of eight tokens. Bars: choices of a batch.',
      'Dashed: the fair share, or the capacity (last panel).',
    ],
    width,
    lowest + 22,
  )
  return {
    height: small.end + 2,
    markup: [markup, small.markup],
    description: panels.map(({ title, description }) => `${title}: ${description}`).join(' '),
  }
}

/** Places of the columns of a panel. */
const columnsOf = (width: number) => ({ token: 58, router: 0.34 * width, names: 0.64 * width, bars: 0.64 * width + 8 })

function choicesPanel(title: string, about: string, run: RecordedRun): Panel {
  const { chosen } = lastLoads(run, ROUTER)
  const { experts, choices } = run.text
  const tokens = run.text.tokens.slice(0, TOKENS)
  const prototypes = run.index.routers[ROUTER]?.prototypes ?? 1
  const yOf = (expert: number) => ROW * (expert + 0.5) + BETWEEN * Math.floor((expert * prototypes) / chosen.length)
  const height = yOf(chosen.length - 1) + ROW / 2
  const picks = experts[ROUTER]?.slice(0, TOKENS * choices) ?? []
  const draw = (top: number, width: number): Child => {
    const { token, router, names } = columnsOf(width)
    const tokenY = (t: number) => top + ((t + 0.5) * height) / tokens.length
    return [
      picks.map((expert, i) => {
        const [from, to] = [tokenY(Math.floor(i / choices)), top + yOf(expert)]
        const path = `M${round(router + 9)} ${round(from)}C${round(router + 40)} ${round(from)} ${round(names - 60)} ${round(to)} ${round(names - 20)} ${round(to)}`
        return element('path', { class: `choice s${i % choices}`, d: path })
      }),
      element('rect', { class: 'frame', x: router - 9, y: top, width: 18, height, rx: 4 }),
      element(
        'text',
        {
          class: 'small',
          x: 0,
          y: 0,
          'text-anchor': 'middle',
          transform: `translate(${round(router + 4)} ${round(top + height / 2)}) rotate(-90)`,
        },
        prototypes > 1 ? `${prototypes} routers` : 'router',
      ),
      tokens.map((text, t) => [
        element(
          'text',
          { x: token, y: round(tokenY(t) + 4), 'text-anchor': 'end' },
          truncate(text, letters.text, token),
        ),
        element('path', { class: 'axis', d: `M${token + 5} ${round(tokenY(t))}H${round(router - 9)}` }),
      ]),
      barsOf({ chosen, kept: chosen }, top, width, yOf, Math.max(...chosen), sum(chosen) / chosen.length),
    ]
  }
  const busiest = chosen.indexOf(Math.max(...chosen))
  const share = percent((chosen[busiest] ?? 0) / sum(chosen))
  const described = `each of 8 tokens chooses ${choices} of ${chosen.length} experts. The busiest, expert ${busiest}, has ${share} of all choices.`
  return { title, about, draw, height, description: described }
}

function capacityPanel(run: RecordedRun): Panel {
  const { chosen, kept } = lastLoads(run, ROUTER)
  const busiest = chosen.indexOf(Math.max(...chosen))
  const [asked, computed] = [chosen[busiest] ?? 0, kept[busiest] ?? 0]
  const yOf = (expert: number) => ROW * (expert + 0.5)
  const about = `Without a balancing loss, ${grouped(asked)} of ${grouped(sum(chosen))} tokens choose expert ${busiest}. It has room for ${grouped(computed)}, and refuses the others (pale).`
  return {
    title: 'A full expert refuses tokens',
    about,
    height: yOf(chosen.length - 1) + ROW / 2,
    draw: (top, width) => barsOf({ chosen, kept }, top, width, yOf, asked, computed, 24),
    description: about,
  }
}

/** Numbers of experts, bars of their loads, and a dashed line at a load. @param left Where bars begin */
function barsOf(
  { chosen, kept }: Loads,
  top: number,
  width: number,
  yOf: (expert: number) => number,
  most: number,
  line: number,
  left: number = columnsOf(width).bars,
): Child {
  const x = (load: number) => left + ((width - left - 2) * load) / most
  const bar = (load: number, expert: number, name: string) =>
    load > 0 &&
    element('rect', {
      class: name,
      x: round(left),
      y: round(top + yOf(expert) - 4),
      width: round(x(load) - left),
      height: 8,
    })
  const end = yOf(chosen.length - 1) + ROW / 2
  return [
    chosen.map((load, expert) => [
      element(
        'text',
        { class: 'small', x: round(left - 6), y: round(top + yOf(expert) + 4), 'text-anchor': 'end' },
        String(expert),
      ),
      bar(load, expert, kept[expert] === load ? 'f4' : 'f4 refused') || undefined,
      kept[expert] !== load ? bar(kept[expert] ?? 0, expert, 'f4') || undefined : undefined,
    ]),
    element('path', { class: 'limit', d: `M${round(x(line))} ${round(top - 2)}V${round(top + end + 2)}` }),
  ]
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
const round = (value: number): number => Math.round(10 * value) / 10
