/**
 * Time of a training step as tables: by work, by part of the model, by layer and by provider. Every table adds up
 * to the wall time of a step; time that no kernel accounts for is attributed to JavaScript.
 *
 * The ceiling column is the roofline model: the minimum time that the machine's matmul rate and memory bandwidth
 * allow for the operations and bytes, over the measured time.
 */
import { groups } from 'd3-array'
import { table, widthOf, wrap } from '../../../core/text/columns.ts'
import { bytes, count, fixed, flops, percent } from '../../../core/text/numbers.ts'
import type { NodeTime } from '../../../engine/contract/times.ts'
import type { StepProfile } from '../../../train/measure/step-profile.ts'
import type { Colors } from '../io.ts'
import { labelled } from './display.ts'
import { engineLine } from './summary.ts'

const notes =
  "An op' is part of the gradient of op. Ceiling: the share of the speed that the matmul rate and the memory " +
  'bandwidth allow; above 100 % where data is in a cache, or if the machine was busier when they were measured. A ' +
  "call of ONNX Runtime is the time that its nodes don't account for, including their recording."

/** Maximum number of rows of a table; the rest are merged into a row "other". */
const MAX_ROWS = 16

/** Work that takes a part of the time of a step. All numbers are per step. */
interface Item {
  readonly work: string
  /** Part of the model, such as `layers.0.moe.experts`, or a name in its place, such as `(no layer)`. */
  readonly place: string
  readonly provider: string
  readonly runs: number
  readonly ms: number
  readonly flops: number
  readonly bytes: number
  /** Minimum time that the ceilings allow, and the part of it that the matmul rate determines. */
  readonly minMs: number
  readonly minFlopsMs: number
}

interface Total extends Omit<Item, 'work' | 'place' | 'provider'> {
  readonly name: string
}

export function profileText(profile: StepProfile, colors: Colors, columns = 80): string {
  const { steps, microseconds } = profile
  if (steps === 0) return '\n  no step was recorded\n'
  const items = profileItems(profile)
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
    tableText([title, ...columnTitles], [...limitRows(groupBy(items, nameOf)), all], all.ms, colors, columns)
  const sections = [
    section('work', ({ work }) => work),
    section('part of the model', ({ place }) => place.replace(/^(\w+)\.\d+\./, '$1.*.')),
    section('layer', ({ place }) => place.replace(/^(\w+\.\d+)\..*/, '$1')),
    section('run by', ({ provider }) => provider),
  ]
  const explanation = wrap(notes, Math.min(columns, 100) - 2).map((line) => `  ${colors.dim(line)}\n`)
  return `\n${head}${sections.join('')}\n${explanation.join('')}`
}

function profileItems({ steps, microseconds, nodes, peakFlops, bandwidth }: StepProfile): Item[] {
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
      minMs: 1000 * Math.max(flops / peakFlops, bytes / bandwidth),
      minFlopsMs: flops / peakFlops > bytes / bandwidth ? (1000 * flops) / peakFlops : 0,
    }
  })
  const known = items.reduce((sum, { ms }) => sum + ms, 0)
  const rest = 'JavaScript, and waiting'
  const ms = Math.max(0, microseconds / steps / 1000 - known)
  return [
    ...items,
    { work: rest, place: rest, provider: rest, runs: 0, ms, flops: 0, bytes: 0, minMs: 0, minFlopsMs: 0 },
  ]
}

/** The op of a node, and its kernel if that has another name: `expert-ffn'`, `dispatch (gather-rows)`. */
function workName({ op, kind }: NodeTime): string {
  if (op === '') return kind
  const [base, prime] = op.endsWith("'") ? [op.slice(0, -1), "'"] : [op, '']
  const short = base.replace(/-kernel$/, '')
  return short.endsWith(kind.replace(/-gradient$/, '')) ? short + prime : `${op} (${kind})`
}

function groupBy(items: readonly Item[], nameOf: (item: Item) => string): Total[] {
  return groups(items, nameOf)
    .map(([name, group]) => total(name, group))
    .sort((a, b) => b.ms - a.ms)
}

function total(name: string, items: readonly Omit<Total, 'name'>[]): Total {
  const sum = (value: (item: Omit<Total, 'name'>) => number) => items.reduce((all, item) => all + value(item), 0)
  return {
    name,
    runs: sum(({ runs }) => runs),
    ms: sum(({ ms }) => ms),
    flops: sum(({ flops }) => flops),
    bytes: sum(({ bytes }) => bytes),
    minMs: sum(({ minMs }) => minMs),
    minFlopsMs: sum(({ minFlopsMs }) => minFlopsMs),
  }
}

function limitRows(totals: readonly Total[]): Total[] {
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
    total.minMs > 0 ? percent(total.minMs / total.ms, 0) : '',
  ])
  const otherWidths = columnTitles.map((title, i) =>
    Math.max(title.length, ...cells.map((row) => widthOf(row[i] ?? ''))),
  )
  const nameWidth = columns - 2 - otherWidths.reduce((sum, width) => sum + width + 2, 0)
  const rows = totals.map(({ name }, i) => [truncated(name, Math.max(nameWidth, 12)), ...(cells[i] ?? [])])
  const [head = '', ...lines] = table([titles, ...rows], 'lrrrrr')
  const last = lines.pop() ?? ''
  return `\n  ${colors.dim(head)}\n${lines.map((line) => `  ${line}\n`).join('')}  ${colors.bold(last)}\n`
}

/** Operations or bytes per second, whichever ceiling determines most of the minimum time. */
function rate({ flops: operations, bytes: traffic, minMs, minFlopsMs, ms }: Total): string {
  if (minMs === 0 || ms === 0) return ''
  return 2 * minFlopsMs >= minMs ? `${flops((1000 * operations) / ms)}/s` : `${bytes((1000 * traffic) / ms)}/s`
}

function truncated(text: string, width: number): string {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`
}
