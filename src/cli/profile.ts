/**
 * Where the time of a step went, as tables: by work, by part of the model, by layer and by what ran it.
 * Every table adds up to the wall time of a step: what no kernel accounts for is JavaScript's.
 *
 * How near the ceiling something is: the least time that the machine's matmul rate and memory bandwidth
 * allow for its operations and bytes, over the time it took (the roofline model).
 */
import type { StepProfile } from '../measure/step-profile.ts'
import type { NodeTime } from '../runtime/times.ts'
import { bytes, count, fixed, flops, percent } from '../text/numbers.ts'
import { labelled } from './display/display.ts'
import type { Colors } from './io.ts'
import { table, widthOf, wrap } from './layout.ts'
import { engineLine } from './summary.ts'

const notes =
  "An op' is part of the gradient of op. Ceiling: how near to what the matmul rate and the memory bandwidth allow; " +
  'above 100 % where data is in a cache, or the machine was busier when they were measured. A call of ONNX Runtime ' +
  "is what its nodes don't account for, their recording included."

/** Rows beyond these are one, "other". */
const MAX_ROWS = 16

/** A share of the step, in ms a step. */
interface Item {
  readonly work: string
  /** `layers.0.moe.experts`; or what stands in for a layer. */
  readonly place: string
  readonly provider: string
  readonly runs: number
  readonly ms: number
  /** Of a step. */
  readonly flops: number
  readonly bytes: number
  /** Least time that the ceilings allow; and how much of that is the matmul rate's doing. */
  readonly leastMs: number
  readonly leastFlopsMs: number
}

interface Total extends Omit<Item, 'work' | 'place' | 'provider'> {
  readonly name: string
}

export function profileText(profile: StepProfile, colors: Colors, columns = 80): string {
  const { steps, microseconds } = profile
  if (steps === 0) return '\n  no step was recorded\n'
  const items = itemsOf(profile)
  const all = total('total', items)
  const head = labelled(
    [
      [
        'recorded',
        `${count(steps)} step${steps === 1 ? '' : 's'} of ${fixed(microseconds / steps / 1000, 2)} ms on average`,
      ],
      ['engine', engineLine(profile)],
      ['ceilings', `${flops(profile.peakFlops)}/s, ${bytes(profile.bandwidth)}/s`],
    ],
    colors,
  )
  const section = (title: string, nameOf: (item: Item) => string) =>
    tableText([title, ...columnTitles], [...shortened(grouped(items, nameOf)), all], all.ms, colors, columns)
  const sections = [
    section('work', ({ work }) => work),
    section('part of the model', ({ place }) => place.replace(/^(\w+)\.\d+\./, '$1.*.')),
    section('layer', ({ place }) => place.replace(/^(\w+\.\d+)\..*/, '$1')),
    section('run by', ({ provider }) => provider),
  ]
  const explanation = wrap(notes, Math.min(columns, 100) - 2).map((line) => `  ${colors.dim(line)}\n`)
  return `\n${head}${sections.join('')}\n${explanation.join('')}`
}

function itemsOf({ steps, microseconds, nodes, peakFlops, bandwidth }: StepProfile): Item[] {
  const items = nodes.map((node): Item => {
    const { layer, provider } = node
    const [flops, bytes] = [(node.flops ?? 0) / steps, (node.bytes ?? 0) / steps]
    return {
      work: workName(node),
      place: layer || '(no layer)',
      provider,
      runs: node.runs / steps,
      ms: node.microseconds / steps / 1000,
      flops,
      bytes,
      leastMs: 1000 * Math.max(flops / peakFlops, bytes / bandwidth),
      leastFlopsMs: flops / peakFlops > bytes / bandwidth ? (1000 * flops) / peakFlops : 0,
    }
  })
  const known = items.reduce((sum, { ms }) => sum + ms, 0)
  const rest = 'JavaScript, and waiting'
  const ms = Math.max(0, microseconds / steps / 1000 - known)
  return [
    ...items,
    { work: rest, place: rest, provider: rest, runs: 0, ms, flops: 0, bytes: 0, leastMs: 0, leastFlopsMs: 0 },
  ]
}

/** `expert-ffn'`, `dispatch (gather-rows)`, `softmax (Softmax)`: the op, and what computes it when that says more. */
function workName({ op, kind }: NodeTime): string {
  if (op === '') return kind
  const [base, prime] = op.endsWith("'") ? [op.slice(0, -1), "'"] : [op, '']
  const short = base.replace(/-kernel$/, '')
  return short.endsWith(kind.replace(/-gradient$/, '')) ? short + prime : `${op} (${kind})`
}

function grouped(items: readonly Item[], nameOf: (item: Item) => string): Total[] {
  const groups = new Map<string, Item[]>()
  for (const item of items) {
    const name = nameOf(item)
    groups.set(name, [...(groups.get(name) ?? []), item])
  }
  return [...groups].map(([name, group]) => total(name, group)).sort((a, b) => b.ms - a.ms)
}

function total(name: string, items: readonly Omit<Total, 'name'>[]): Total {
  const sum = (value: (item: Omit<Total, 'name'>) => number) => items.reduce((all, item) => all + value(item), 0)
  return {
    name,
    runs: sum(({ runs }) => runs),
    ms: sum(({ ms }) => ms),
    flops: sum(({ flops }) => flops),
    bytes: sum(({ bytes }) => bytes),
    leastMs: sum(({ leastMs }) => leastMs),
    leastFlopsMs: sum(({ leastFlopsMs }) => leastFlopsMs),
  }
}

function shortened(totals: readonly Total[]): Total[] {
  if (totals.length <= MAX_ROWS) return [...totals]
  const rest = totals.slice(MAX_ROWS - 1)
  return [...totals.slice(0, MAX_ROWS - 1), total(`other (${rest.length})`, rest)]
}

const columnTitles = ['runs', 'ms a step', 'share', 'rate', 'ceiling']

function tableText(
  titles: readonly string[],
  totals: readonly Total[],
  all: number,
  colors: Colors,
  columns: number,
): string {
  const cells = totals.map((total) => [
    total.runs > 0 ? count(total.runs) : '',
    fixed(total.ms, 2),
    percent(total.ms / all),
    rate(total),
    total.leastMs > 0 ? percent(total.leastMs / total.ms, 0) : '',
  ])
  const others = columnTitles.map((title, i) => Math.max(title.length, ...cells.map((row) => widthOf(row[i] ?? ''))))
  const room = columns - 2 - others.reduce((sum, width) => sum + width + 2, 0)
  const rows = totals.map(({ name }, i) => [truncated(name, Math.max(room, 12)), ...(cells[i] ?? [])])
  const [head = '', ...lines] = table([titles, ...rows], 'lrrrrr')
  const last = lines.pop() ?? ''
  return `\n  ${colors.dim(head)}\n${lines.map((line) => `  ${line}\n`).join('')}  ${colors.bold(last)}\n`
}

/** In terms of the ceiling that binds most of it. */
function rate({ flops: operations, bytes: traffic, leastMs, leastFlopsMs, ms }: Total): string {
  if (leastMs === 0 || ms === 0) return ''
  return 2 * leastFlopsMs >= leastMs ? `${flops((1000 * operations) / ms)}/s` : `${bytes((1000 * traffic) / ms)}/s`
}

function truncated(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`
}
