/**
 * A made-up report with every form of figure and plausible numbers of a study. It serves to test renderers, and to be
 * looked at. Nothing here was measured.
 */
import type { BarFigure, HeatFigure, IntervalFigure, LineFigure, ScatterFigure, Table } from '../blocks.ts'
import type { Report, Section } from '../report.ts'

/** A reproducible random generator (Mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

const random = randomOf(7)
/** An approximately normal random number with mean 0 and deviation 1. */
const normal = (): number => Array.from({ length: 12 }, random).reduce((a, b) => a + b) - 6
const list = <T>(length: number, of: (i: number) => T): T[] => Array.from({ length }, (_, i) => of(i))

const routings = ['top-1', 'top-2', 'top-4', '2 top-1', '4 top-1', 'dense']

function curves(names: readonly string[], gap: number): LineFigure['series'] {
  return names.map((name, n) => {
    const x = list(60, (i) => 50 * (i + 1))
    const y = x.map((step) => 3.9 - 0.024 * n * gap + 5.4 * Math.exp(-step / (420 + 20 * n)) + 0.006 * normal())
    const width = x.map((step) => 0.02 + 0.12 * Math.exp(-step / 700))
    return { name, x, y, low: y.map((v, i) => v - (width[i] ?? 0)), high: y.map((v, i) => v + (width[i] ?? 0)) }
  })
}

const convergence: LineFigure = {
  kind: 'figure',
  form: 'lines',
  id: 'convergence',
  caption: 'Held-out loss while training, mean of five seeds; bands from the lowest to the highest seed.',
  x: { label: 'step', scale: 'linear' },
  y: { label: 'held-out loss (nats per token)', scale: 'linear' },
  series: curves(routings, 1.2),
}

const many: LineFigure = {
  kind: 'figure',
  form: 'lines',
  id: 'imbalance-by-layer',
  caption: 'Coefficient of variation of the load of experts over time, by layer.',
  x: { label: 'tokens', scale: 'log' },
  y: { label: 'coefficient of variation of load', scale: 'log' },
  series: list(12, (n) => {
    const x = list(24, (i) => 2e4 * 1.33 ** i)
    return {
      name: `layer ${n}`,
      x,
      y: x.map((_, i) => (0.05 + 0.02 * n) * (1 + 14 * Math.exp(-i / (3 + n / 3))) * (1 + 0.05 * normal())),
    }
  }),
}

const difference = (label: string, mean: number, width: number): IntervalFigure['rows'][number] => ({
  label,
  mean,
  low: mean - width,
  high: mean + width,
  values: list(5, () => mean + 0.5 * width * normal()),
})

const forest: IntervalFigure = {
  kind: 'figure',
  form: 'intervals',
  id: 'differences',
  caption: 'Held-out loss of each routing minus that of top-1, by pairs of seeds; mean, 95% interval and seeds.',
  x: { label: 'difference of held-out loss (nats per token)', scale: 'linear' },
  zero: 0,
  sides: ['lower loss than top-1', 'higher loss than top-1'],
  rows: [
    difference('top-2', -0.021, 0.007),
    difference('top-4', -0.034, 0.009),
    difference('2 top-1 (prototypes)', -0.028, 0.008),
    difference('4 top-1 (prototypes)', -0.031, 0.012),
    difference('top-1, capacity factor 1.25, auxiliary loss 0.01', 0.004, 0.011),
    difference('dense, as many active parameters', 0.046, 0.014),
    { label: 'top-8', mean: Number.NaN, low: Number.NaN, high: Number.NaN, values: [] },
  ],
}

const scatter: ScatterFigure = {
  kind: 'figure',
  form: 'scatter',
  id: 'loss-by-compute',
  caption: 'Held-out loss against the FLOPs of training; a line fitted to the routed models.',
  x: { label: 'training FLOPs', scale: 'log' },
  y: { label: 'held-out loss (nats per token)', scale: 'linear' },
  points: ['8 experts', '16 experts', '32 experts', 'dense'].flatMap((group, g) =>
    list(5, (i) => {
      const x = 1.1e13 * 1.9 ** i * (1 + 0.22 * g)
      const y = 4.62 - 0.21 * Math.log10(x / 1e13) - (g === 3 ? -0.09 : 0.025 * g) + 0.006 * normal()
      return {
        label: g === 3 ? `dense ${i + 1}` : `top-${2 ** (i % 3)} d${64 * (i + 1)} N${8 * 2 ** g}`,
        group,
        x,
        y,
        low: y - 0.014,
        high: y + 0.014,
      }
    }),
  ),
  trend: [
    [1e13, 4.6],
    [2.6e14, 4.3],
  ],
}

const parties = ['Whig', 'Democratic-Republican', 'Democratic', 'Republican']
const share: HeatFigure = {
  kind: 'figure',
  form: 'heat',
  id: 'experts-by-party',
  caption: 'Share of the tokens of an expert by party, over the share in the text; 1 is as usual.',
  xLabel: 'party',
  yLabel: 'expert',
  valueLabel: 'share over usual share',
  middle: 1,
  panels: list(3, (layer) => ({
    title: `Layer ${2 * layer + 1}`,
    columns: parties,
    rows: list(8, (expert) => `${expert}`),
    values: list(8, (r) =>
      parties.map((_, c) => (r === 5 && c === 1 ? null : Math.max(0.1, 1 + 0.28 * (layer + 1) * 0.6 * normal()))),
    ),
  })),
}

const load: HeatFigure = {
  kind: 'figure',
  form: 'heat',
  id: 'load-over-time',
  caption: 'Load of every expert over time, share of all assignments; an even load is 1/16.',
  xLabel: 'step',
  yLabel: 'expert',
  valueLabel: 'share of assignments',
  panels: ['without auxiliary loss', 'with auxiliary loss 0.01'].map((title, p) => ({
    title,
    columns: list(40, (i) => `${75 * (i + 1)}`),
    rows: list(16, (i) => `${i}`),
    values: list(16, (r) => {
      const own = p === 0 ? Math.exp(0.9 * normal()) : 1
      return list(40, (i) =>
        p === 1 && i > 36 && r > 12
          ? null
          : (1 / 16) * (1 + (own - 1) * (1 - Math.exp(-i / 8))) * (1 + 0.08 * normal()),
      )
    }),
  })),
}

const waiting: ScatterFigure = {
  ...scatter,
  id: 'not-yet',
  caption: 'Step time against imbalance: no run has finished.',
  points: [],
  trend: [],
}

const kinds = [
  'weights',
  'gradients',
  'first moments',
  'second moments',
  'master weights',
  'activations',
  'expert buffers',
  'attention scores',
  'logits',
  'workspace',
]
const layouts = [
  { label: 'expert 480 · data 480 · ZeRO 1 · recompute full', size: 1, kept: 0.25, note: 'fastest that fits' },
  { label: 'expert 480 · data 480 · ZeRO 1 · recompute selective', size: 1, kept: 0.6 },
  { label: 'expert 240 · data 480 · ZeRO 2 · recompute none', size: 1.7, kept: 1.4 },
  { label: 'expert 120 · data 480 · recompute none', size: 2.6, kept: 1.5, note: 'does not fit: ten layers a device' },
  { label: 'dense', size: 0.3, kept: 0.25 },
]

const memory: BarFigure = {
  kind: 'figure',
  form: 'bars',
  id: 'memory-by-kind',
  caption: 'Memory of a device by what it holds, for five layouts of one model.',
  x: { label: 'memory per device (GB)', scale: 'linear' },
  parts: kinds,
  rows: layouts.map(({ size, kept, ...row }) => ({
    ...row,
    values: [8, 8, 8.4, 7.9, 4, 30, 9, 12, 2.2, 1.1].map((gigabytes, i) =>
      row.label === 'dense' && kinds[i] === 'expert buffers' ? 0 : gigabytes * (i < 5 ? size : i < 8 ? kept : 1),
    ),
  })),
  limit: { value: 80, label: 'memory of the device: 80 GB' },
}

const time: BarFigure = {
  kind: 'figure',
  form: 'bars',
  id: 'time-by-kind',
  caption: 'Time of a step by what is done, for four layouts of one model.',
  x: { label: 'step time (ms)', scale: 'linear' },
  parts: ['matrix products', 'attention', 'all-to-all', 'optimizer'],
  rows: [
    { label: 'expert 480 · data 480', values: [612, 88, 341, 22] },
    { label: 'expert 240 · data 480', values: [612, 88, 220, 41] },
    { label: 'expert 120 · data 480', values: [612, 88, 97, 80] },
    { label: 'dense', values: [240, 88, 0, 12] },
  ],
}

const arms: Table = {
  kind: 'table',
  caption: 'Arms: mean over five seeds, with the standard deviation of seeds.',
  columns: [
    { title: 'Arm', align: 'left' },
    { title: 'Held-out loss', align: 'right' },
    { title: 'Parameters', align: 'right' },
    { title: 'Active', align: 'right' },
    { title: 'Step time', align: 'right' },
    { title: 'Dropped', align: 'right' },
  ],
  rows: routings.map((name, i) => [
    name,
    `${(4.31 - 0.012 * i).toFixed(3)} ± 0.00${3 + (i % 4)}`,
    '4.12 M',
    `${(1.1 + 0.2 * i).toFixed(2)} M`,
    `${(118 + 17 * i).toFixed(0)} ms`,
    i === 5 ? '–' : `${(3.1 - 0.4 * i).toFixed(1)}%`,
  ]),
}

const answers: Table = {
  kind: 'table',
  caption: 'Two questions.',
  columns: [
    { title: 'Question', align: 'left' },
    { title: 'Answer', align: 'left' },
    { title: 'Drawn', align: 'left' },
    { title: 'Effect', align: 'right' },
    { title: '95 % interval', align: 'right' },
    { title: 'Visible from', align: 'right' },
  ],
  rows: [
    [
      { text: 'Top-2 is better', note: 'top-2 against top-1' },
      { text: 'holds', tone: 'strong' },
      { mean: -0.02, low: -0.03, high: -0.01, reach: 0.04, tone: 'better' },
      '−0.020',
      { text: '−0.030 to −0.010', note: 'nats a token' },
      '0.010',
    ],
    [
      { text: 'Balance matters', note: 'no balancing against top-1' },
      { text: 'cannot be said here', tone: 'open' },
      { mean: 0.01, low: -0.03, high: 0.05, reach: 0.04, tone: 'open' },
      '+0.010',
      { text: '−0.030 to 0.050', note: 'nats a token' },
      '0.040',
    ],
  ],
}

const section = (id: string, title: string, about: string, verdicts: string[], blocks: Section['blocks']): Section => ({
  id,
  title,
  about,
  verdicts,
  blocks,
})

export const demoReport: Report = {
  title: 'Routing of experts on the State of the Union',
  facts: [
    '120 of 126 runs done, 6 arms of the last question are still to be run',
    'Text: State of the Union addresses 1790 to 2016, 2.1 M tokens, 10% of each address held out',
    'Model: 6 layers, width 128, 16 experts, 3000 steps of 4096 tokens',
    'Machine: AMD EPYC 9554, 8 threads, Linux 6.1; ONNX Runtime 1.30, float32',
  ],
  command: 'choir study run studies/routing.yaml --seeds 5 --threads 8',
  sections: [
    {
      ...section('summary', 'Summary', '', ['The largest effect: top-2 is better than top-1.'], []),
      lead: answers,
    },
    section(
      'routing',
      'Which routing learns more in as many steps?',
      'Arms differ in how experts are chosen and in nothing else. The held-out loss of an arm is compared with that of top-1, seed by seed.',
      [
        'Top-2 reaches a lower held-out loss than top-1 by 0.021 nats (95% interval 0.014 to 0.028, 5 of 5 seeds).',
        '2 top-1 is as good as top-2: the difference, 0.007, is within what seeds differ by.',
      ],
      [arms, forest, convergence],
    ),
    section(
      'imbalance',
      'Does the load stay even without an auxiliary loss?',
      'Load of experts at every snapshot, before drops.',
      ['Without an auxiliary loss the load becomes uneven in the first 500 steps and stays so: 0.61 against 0.09.'],
      [many, load],
    ),
    section(
      'scale',
      'Does it hold for larger models?',
      'The same arms at five widths and three numbers of experts.',
      ['The advantage of more experts stays the same over 20-fold compute, within what could be measured.'],
      [scatter],
    ),
    section(
      'specialisation',
      'What do experts specialise in?',
      'Mutual information of expert and party, and shares of single experts.',
      ['Experts of later layers follow the party and the period more than those of the first.'],
      [share],
    ),
    section(
      'layout',
      'Which layout fits a device?',
      'Memory and step time of layouts of one model, by kind.',
      ['The memory of a device holds two of four sparse layouts; the fastest of them recomputes all activations.'],
      [memory, time],
    ),
    section('speed', 'What does imbalance cost in time?', 'Step time, alone on the machine.', [], [waiting]),
  ],
}
