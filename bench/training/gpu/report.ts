/** Formats the results of a GPU as tables. */
import { count, fixed, percent } from '../../../src/core/text/numbers.ts'
import { tableText } from '../../support/command.ts'
import { type GpuRow, isMissing, type MatmulRow, type MemoryRow, type Missing, type TrainingRow } from './rows.ts'

/** The measured rows of a part. */
export const rowsOf = <Row extends GpuRow>(rows: readonly GpuRow[], part: Row['part']): readonly Row[] =>
  rows.filter((row): row is Row => row.part === part && !isMissing(row))

/** The best rate of a product in a precision, GFLOP/s; 0 if none was measured. */
export const peakOf = (rows: readonly GpuRow[], math: string): number =>
  Math.max(0, ...rowsOf<MatmulRow>(rows, 'matmul').map((row) => (row.math === math ? row.gflops : 0)))

export function reportText(rows: readonly GpuRow[]): string {
  const products = rowsOf<MatmulRow>(rows, 'matmul').map(({ name, math, gflops, pytorch, ratio }) => [
    name,
    math,
    fixed(gflops, 0),
    percent(gflops / peakOf(rows, math), 0),
    isMissing(pytorch) ? '' : fixed(pytorch.gflops, 0),
    ratio === null ? '' : fixed(ratio, 2),
  ])
  const traffic = rowsOf<MemoryRow>(rows, 'memory').map(({ name, gbPerSecond }) => [name, fixed(gbPerSecond, 1)])
  const trainings = rowsOf<TrainingRow>(rows, 'training').map(({ name, math, choir, cpu, pytorch }) => [
    name,
    math,
    fixed(choir.stepMs, 1),
    count(choir.tokensPerSecond),
    percent(choir.mfu, 0),
    fixed(choir.keptShare, 3),
    ...[cpu, pytorch.eager, pytorch.compiled, pytorch.autocast].map((other) =>
      isMissing(other) ? '' : fixed(other.speedRatio, 2),
    ),
  ])
  const tables = [
    table(['product', 'math', 'GFLOP/s', 'of the best', 'PyTorch', 'ratio'], products, 'llrrrr'),
    table(['memory traffic', 'GB/s'], traffic, 'lr'),
    table(
      ['training', 'math', 'ms a step', 'tokens/s', 'MFU', 'kept', '× CPU', '× eager', '× compiled', '× autocast'],
      trainings,
      'llrrrrrrrr',
    ),
  ]
  return `${tables.join('')}${reasonsText(rows)}`
}

const table = (head: readonly string[], rows: readonly (readonly string[])[], align: string): string =>
  rows.length === 0 ? '' : tableText([head, ...rows], align)

/** The reasons why cells are empty, each reason once. */
function reasonsText(rows: readonly GpuRow[]): string {
  const reasons = new Map<string, string[]>()
  const add = (what: string, { missing }: Missing) => reasons.set(missing, [...(reasons.get(missing) ?? []), what])
  for (const row of rows) {
    if (isMissing(row)) add(`${row.part} ${row.name}`, row)
    else if (row.part === 'matmul' && isMissing(row.pytorch)) add('PyTorch', row.pytorch)
    else if (row.part === 'training')
      for (const [what, other] of [['CPU', row.cpu], ...Object.entries(row.pytorch)] as const)
        if (isMissing(other)) add(`${row.name} ${what}`, other)
  }
  const lines = [...reasons].map(([reason, what]) => `    ${[...new Set(what)].join(', ')}: ${reason}\n`)
  return lines.length === 0 ? '' : `\n  not measured:\n${lines.join('')}`
}
