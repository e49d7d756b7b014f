/** Where the time of a training went: by op, and by layer of the model. */
import type { NodeTime } from '../runtime/contract.ts'
import { count, duration, percent, table } from './format.ts'
import type { Colors } from './io.ts'

/** Ops beyond these are one row, "other". */
const most = 15

export function profileText(times: readonly NodeTime[], colors: Colors): string {
  const byOp = group(times, (time) => (time.op ? `${time.op} (${time.kind})` : time.kind))
  const byLayer = group(times, (time) => time.layer || '(top level)')
  return `${section('time by op', byOp, colors)}${section('time by layer', byLayer, colors)}`
}

interface Total {
  name: string
  seconds: number
  runs: number
}

function group(times: readonly NodeTime[], nameOf: (time: NodeTime) => string): Total[] {
  const totals = new Map<string, Total>()
  for (const time of times) {
    const name = nameOf(time)
    const total = totals.get(name) ?? { name, seconds: 0, runs: 0 }
    total.seconds += time.microseconds / 1e6
    total.runs += time.runs
    totals.set(name, total)
  }
  return [...totals.values()].sort((a, b) => b.seconds - a.seconds)
}

function section(title: string, totals: readonly Total[], colors: Colors): string {
  const all = totals.reduce((sum, total) => sum + total.seconds, 0)
  const shown = totals.slice(0, most)
  const rest = totals.slice(most)
  if (rest.length > 0)
    shown.push({
      name: `other (${rest.length})`,
      seconds: rest.reduce((sum, total) => sum + total.seconds, 0),
      runs: rest.reduce((sum, total) => sum + total.runs, 0),
    })
  const rows = shown.map((total) => [
    total.name,
    duration(total.seconds),
    percent(total.seconds / all),
    `${count(total.runs)} runs`,
  ])
  const lines = table(rows, 'lrrr').map((line) => `  ${line}\n`)
  return `\n  ${colors.bold(title)}\n${lines.join('')}`
}
