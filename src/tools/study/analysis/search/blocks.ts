/** Tables and figures of a search. */
import { group } from 'd3-array'
import { dash, fixed, grouped } from '../../../../core/text/numbers.ts'
import type { Cell, LineFigure, ScatterFigure, Table } from '../../../report/blocks.ts'
import type { SearchResults } from '../../contract.ts'
import { slug, table } from '../tables.ts'
import type { Tried } from './tried.ts'

export function rungTable({ rungs }: SearchResults): Table | null {
  return table(
    'rungs',
    'Rungs. Steps: those of a training at the end of the rung. Best, median, last that went on: held-out losses, nats a token.',
    ['Rung', 'Steps', 'Configurations', 'Failed', 'Best', 'Median', 'Last that went on'],
    rungs.map(({ steps, configurations, entries }, i): Cell[] => {
      const losses = entries.flatMap(({ loss }) => (typeof loss === 'number' ? [loss] : [])).sort((a, b) => a - b)
      const known = entries.filter(({ loss }) => loss !== undefined).length
      const next = rungs[i + 1]?.entries.length ?? 0
      return [
        String(i + 1),
        grouped(steps),
        known < configurations ? `${known} of ${configurations}` : String(configurations),
        String(entries.filter(({ loss }) => loss === null).length),
        fixed(losses[0], 3),
        fixed(losses[Math.floor((losses.length - 1) / 2)], 3),
        next > 0 ? fixed(losses[next - 1], 3) : dash,
      ]
    }),
  )
}

/** Largest number of configurations that are named in the figure of budgets. */
const MAX_NAMED = 12

/** The figure of losses by budget: one line for each configuration that went on; the others are rings. */
export function budgetFigure({ rungs }: SearchResults, tried: readonly Tried[]): LineFigure | null {
  const named = tried.filter(({ losses }) => losses.length > 1).slice(0, MAX_NAMED)
  const others = tried.filter((one) => !named.includes(one))
  if (tried.length === 0 || rungs.length < 2) return null
  const steps = rungs.map((rung) => rung.steps)
  return {
    kind: 'figure',
    id: 'search-budget',
    caption: `Held-out loss of configurations by steps trained: a line for each that went on${others.length > 0 ? `, and a ring for each result of the other ${others.length}` : ''}. Numbers are those of the table of all configurations.`,
    form: 'lines',
    x: { label: 'steps trained', scale: (steps[0] ?? 0) > 0 ? 'log' : 'linear' },
    y: { label: 'held-out loss, nats a token', scale: 'linear' },
    series: [
      ...named.map(({ rank, losses }) => ({
        name: `#${rank}`,
        x: losses.map((one) => one.steps),
        y: losses.map(({ loss }) => loss),
      })),
      ...(others.length > 0
        ? [
            {
              name: 'others',
              x: [],
              y: [],
              dots: others.flatMap(({ losses }) => losses.map((one) => ({ x: one.steps, y: one.loss }))),
            },
          ]
        : []),
    ],
  }
}

/** Losses after the first rung over a setting with a range. */
export function settingFigure(
  { settings, rungs }: SearchResults,
  tried: readonly Tried[],
  path: string,
): ScatterFigure | null {
  if (settings[path]?.choices !== undefined) return null
  const first = rungs[0]?.steps ?? 0
  const groups = [...new Set(tried.map(({ steps }) => steps))]
  const points = tried.flatMap(({ rank, settings: own, losses: [one], steps }) => {
    const x = own[path]
    return typeof x !== 'number' || one === undefined || one.steps !== first
      ? []
      : [
          {
            label: `#${rank}`,
            group: `trained to step ${grouped(steps)}`,
            x,
            y: one.loss,
            order: groups.indexOf(steps),
          },
        ]
  })
  if (points.length < 2) return null
  return {
    kind: 'figure',
    id: slug(`search-${path}`),
    caption: `Held-out loss after ${grouped(first)} steps over ${path}. Colours and shapes: how far the configuration came. Other settings differ between points too.`,
    form: 'scatter',
    x: { label: path, scale: settings[path]?.scale ?? 'linear' },
    y: { label: `held-out loss after ${grouped(first)} steps, nats a token`, scale: 'linear' },
    points: points.toSorted((a, b) => a.order - b.order).map(({ order: _, ...point }) => point),
  }
}

/** Losses after the first rung by choice. */
export function choiceTable({ settings, rungs }: SearchResults, tried: readonly Tried[], path: string): Table | null {
  if (settings[path]?.choices === undefined) return null
  const first = rungs[0]?.steps ?? 0
  const byChoice = group(tried, ({ settings: own }) => JSON.stringify(own[path]))
  return table(
    `losses by ${path}`,
    `Held-out losses after ${grouped(first)} steps by ${path}, nats a token, and how many of its configurations went on. Other settings differ too.`,
    [path, 'Configurations', 'Best', 'Median', 'Went on'],
    [...byChoice].map(([choice, of]): Cell[] => {
      const losses = of.flatMap(({ losses: [one] }) => one?.loss ?? []).sort((a, b) => a - b)
      return [
        choice,
        String(of.length),
        fixed(losses[0], 3),
        fixed(losses[Math.floor((losses.length - 1) / 2)], 3),
        String(of.filter(({ losses: all }) => all.length > 1).length),
      ]
    }),
  )
}

/** All configurations with their values. */
export function candidateTable({ settings }: SearchResults, tried: readonly Tried[]): Table | null {
  const paths = Object.keys(settings)
  return table(
    'configurations',
    'All configurations that finished a rung. Loss: held-out loss after these steps, nats a token.',
    ['#', ...paths.map((path) => path.split('.').at(-1) ?? path), 'Steps', 'Loss'],
    tried.map(({ rank, settings: own, steps, loss }): Cell[] => [
      `#${rank}`,
      ...paths.map((path) => (typeof own[path] === 'string' ? own[path] : JSON.stringify(own[path]))),
      grouped(steps),
      rank === 1 ? { text: fixed(loss, 4), note: 'best', tone: 'strong' } : fixed(loss, 4),
    ]),
  )
}
