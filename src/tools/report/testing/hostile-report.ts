/** A report of everything that can go wrong: names that contain markup, endless names, invalid numbers. */
import type { BarFigure, Block, IntervalFigure, LineFigure, ScatterFigure } from '../blocks.ts'
import type { Report } from '../report.ts'

const hostileNames = [
  `<script>alert('1')</script>`,
  `"quoted" & 'single' </title></svg></style>]]>`,
  'capacity_factor=1.25, '.repeat(20),
  'W'.repeat(300),
  '專家混合模型的路由器與容量因子'.repeat(5),
  'Ω≈ç√∫ 👩‍👩‍👧‍👦🏴‍☠️ e\u0301\u0302\u0303',
  '\u202Ereversed\u202C \u0000\u0007\ud800',
  '| a | *b* _c_ `d` [e](javascript:alert(1)) $f$ ~g~ #h',
  '- list',
  '',
] as const

const name = (i: number): string => hostileNames[i % hostileNames.length] ?? ''
const { NaN: none, POSITIVE_INFINITY: endless } = Number

const lines = (id: string, scale: 'linear' | 'log', series: LineFigure['series']): LineFigure => ({
  kind: 'figure',
  form: 'lines',
  id,
  caption: name(0),
  x: { label: name(2), scale },
  y: { label: name(4), scale },
  series,
})

const scatter = (id: string, scale: 'linear' | 'log', points: ScatterFigure['points']): ScatterFigure => ({
  kind: 'figure',
  form: 'scatter',
  id,
  caption: name(1),
  x: { label: name(1), scale },
  y: { label: name(3), scale },
  points,
})

const intervals = (id: string, rows: IntervalFigure['rows'], zero = 0): IntervalFigure => ({
  kind: 'figure',
  form: 'intervals',
  id,
  caption: name(7),
  x: { label: name(3), scale: 'linear' },
  zero,
  sides: [name(2), name(4)],
  rows,
})

const heat = (id: string, size: number, value: (r: number, c: number) => number | null, middle?: number): Block => ({
  kind: 'figure',
  form: 'heat',
  id,
  caption: name(6),
  xLabel: name(2),
  yLabel: name(3),
  valueLabel: name(4),
  ...(middle === undefined ? {} : { middle }),
  panels: [0, 1, 2].map((panel) => ({
    title: name(panel),
    columns: Array.from({ length: size }, (_, i) => name(i + panel)),
    rows: Array.from({ length: size }, (_, i) => name(i)),
    values: Array.from({ length: size }, (_, r) => Array.from({ length: size }, (_, c) => value(r, c))),
  })),
})

const bars = (
  id: string,
  parts: number,
  rows: readonly (readonly number[])[],
  limit?: BarFigure['limit'],
): BarFigure => ({
  kind: 'figure',
  form: 'bars',
  id,
  caption: name(5),
  x: { label: name(3), scale: 'linear' },
  parts: Array.from({ length: parts }, (_, i) => name(i)),
  rows: rows.map((values, i) => ({ label: name(i), values, ...(i % 2 ? { note: name(i + 2) } : {}) })),
  ...(limit ? { limit } : {}),
})

const named = hostileNames.map((label, i) => ({ label, i }))

/** Figures of every form with bad names and with bad numbers. Their ids are not unique. */
export const hostileBlocks: readonly Block[] = [
  lines(
    '<bad id>',
    'linear',
    named.map(({ label, i }) => ({ name: label, x: [0, 1, 2], y: [i, i * i, 3], low: [i, 0, 2], high: [i, none, 4] })),
  ),
  lines('<bad id>', 'log', [
    { name: name(0), x: [1, 2, 3, 4], y: [none, endless, -1, 0] },
    { name: name(3), x: [1, 10, 1000], y: [1e-300, 5, 1e300] },
    { name: name(5), x: [], y: [] },
    { name: name(7), x: [7], y: [7] },
  ]),
  lines('equal', 'linear', [{ name: 'equal', x: [3, 3, 3], y: [2, 2, 2] }]),
  lines('large', 'linear', [{ name: 'large', x: [-1e308, 1e308], y: [1e15, 1e15 + 1] }]),
  lines('nothing', 'log', []),
  lines(
    'forty',
    'linear',
    Array.from({ length: 40 }, (_, i) => ({ name: `${i} ${name(i)}`, x: [0, 1], y: [i, i / 9] })),
  ),
  scatter(
    'points',
    'linear',
    named.map(({ label, i }) => ({ label, group: name(i + 1), x: i % 3, y: i % 4, low: i - 1, high: i + 1 })),
  ),
  scatter('one', 'log', [{ label: name(2), group: '', x: 5, y: 5 }]),
  scatter('none', 'log', [{ label: name(2), group: '', x: none, y: -5, low: endless, high: 0 }]),
  scatter(
    'heap',
    'linear',
    Array.from({ length: 60 }, (_, i) => ({ label: `arm ${i}`, group: `${i % 12}`, x: 1 + i / 1e4, y: 1 })),
  ),
  intervals(
    'rows',
    named.map(({ label, i }) => ({ label, mean: i - 4, low: i - 6, high: i - 3.5, values: [i - 4, none, endless] })),
  ),
  intervals('rows', [{ label: name(2), mean: 0, low: none, high: endless, values: [] }]),
  intervals('no-rows', []),
  intervals('no-zero', [{ label: name(1), mean: none, low: none, high: none, values: [none] }], none),
  heat('matrix', 10, (r, c) => (r === c ? null : r * c)),
  heat('matrix', 3, () => 5, 5),
  heat('numberless', 2, () => none, 0),
  heat('large', 70, (r, c) => Math.sin(r) * c),
  heat('without-cells', 0, () => 1),
  bars(
    'stacks',
    12,
    Array.from({ length: 40 }, (_, r) => Array.from({ length: 12 }, (_, c) => ((r + 3) * c) % 7)),
    { value: 30, label: name(2) },
  ),
  bars(
    'stacks',
    3,
    [
      [-1, none, endless],
      [1e150, 1, 2],
      [1, 2],
      [1, 2, 3, 4],
      [3, -0, 5e-324],
    ],
    {
      value: endless,
      label: name(0),
    },
  ),
  bars('no-bars', 10, [], { value: 5, label: name(3) }),
  bars('no-parts', 0, [[], [1]]),
  bars('no-values', 2, [
    [none, none],
    [-1, -2],
  ]),
  bars('zeros', 2, [
    [0, 0],
    [-0, 0],
  ]),
  bars('tiny', 2, [[5e-324, 1e-300]], { value: 0, label: name(4) }),
  bars('small', 2, [[1e-100, 3e-100]], { value: 2e-100, label: name(4) }),
  bars('near', 2, [[2.4e-100, none]], { value: 3e-100, label: name(0) }),
  bars('huge', 2, [
    [1e149, 4e149],
    [1, 1e-9],
  ]),
  bars('dwarfed', 40, [Array.from({ length: 40 }, (_, i) => i)], { value: 1e12, label: name(3) }),
  bars('exceeded', 1, [[1e12], [1]], { value: 1, label: name(7) }),
  {
    kind: 'table',
    caption: name(0),
    columns: named.map(({ label, i }) => ({ title: label, align: i % 2 ? 'left' : 'right' })),
    rows: [
      hostileNames,
      [],
      ['one'],
      named.map(({ label, i }) => ({ text: label, note: name(i + 1), tone: 'worse' })),
      [none, endless, -endless, 1e308, 0].map((mean, i) => ({
        mean,
        low: -1,
        high: [none, endless][i % 2] ?? 1,
        reach: i % 3,
        tone: 'better',
      })),
      [{ mean: 1, low: -endless, high: endless, reach: none, tone: 'open' }],
    ],
  },
  { kind: 'table', caption: name(7), columns: [], rows: [] },
]

export const hostileReport: Report = {
  title: name(1),
  facts: hostileNames,
  command: `choir study run '${name(0)}' "\`$(whoami)\`" </code>`,
  sections: [
    { id: '', title: name(0), about: name(2), verdicts: hostileNames, blocks: hostileBlocks },
    { id: '', title: name(4), about: '', verdicts: [], blocks: [] },
  ],
}
