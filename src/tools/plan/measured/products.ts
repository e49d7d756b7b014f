/**
 * Reads times of matrix products from a table (CSV) or from the output of `mamf-finder.py` of the ML Engineering book
 * (https://github.com/stas00/ml-engineering), and the limit of power from `nvidia-smi -q -d POWER`.
 */
import { UsageError } from '../../../core/errors.ts'
import { type MathPrecision, precisions } from '../inputs/cluster.ts'

/** The rate of `count` products of an m × k by a k × n matrix. */
export interface MeasuredProduct {
  readonly file: string
  readonly precision: MathPrecision
  readonly count: number
  readonly m: number
  readonly n: number
  readonly k: number
  readonly flopsPerSecond: number
}

/** Watts to which a device is limited, and watts without that limit. */
export interface MeasuredPower {
  readonly file: string
  readonly limit: number
  readonly design: number
}

const rates = { tflops: 1e12, 'tflop/s': 1e12, gflops: 1e9, 'gflop/s': 1e9 } as const
const times = { seconds: 1, s: 1, ms: 1e-3, us: 1e-6 } as const

const otherNames: Readonly<Record<string, MathPrecision>> = {
  fp32: 'float32',
  float: 'float32',
  fp16: 'float16',
  half: 'float16',
  bf16: 'bfloat16',
  fp8: 'float8',
}

function precisionNamed(text: string, file: string): MathPrecision {
  const name = text.toLowerCase().replace(/^torch\./, '')
  const known = precisions.find((precision) => name === precision) ?? otherNames[name]
  if (known) return known
  if (/^(float8|fp8|f8)_?e\dm\d(fn)?$/.test(name)) return 'float8'
  throw new UsageError(`invalid --measured ${file}: dtype ${text} (expected ${precisions.join(', ')})`)
}

/** The columns of a table of products, or null if the first line is not the head of one. */
function headOf(text: string): string[] | null {
  const [first = ''] = text.trimStart().split('\n')
  const names = first.split(/[,\t]/).map((name) => name.trim().toLowerCase())
  return ['m', 'n', 'k'].every((name) => names.includes(name)) ? names : null
}

export const hasProducts = (text: string): boolean => headOf(text) !== null || isMamf(text)

const isMamf = (text: string): boolean => /TFLOPS\s*@\s*\d+x\d+x\d+/.test(text)

/** @throws UsageError if a column, a precision or a row is missing or wrong */
export function readProducts(text: string, file: string): MeasuredProduct[] {
  const names = headOf(text)
  return names ? table(text, names, file) : mamf(text, file)
}

function table(text: string, names: readonly string[], file: string): MeasuredProduct[] {
  const units: Readonly<Record<string, number>> = { ...rates, ...times }
  const measure = names.find((name) => Object.hasOwn(units, name))
  if (measure === undefined || !names.includes('dtype'))
    throw new UsageError(
      `invalid --measured ${file}: columns ${names.join(', ')} (expected m, n, k, dtype, and one of ${Object.keys(units).join(', ')}; count for several products at once)`,
    )
  const rows = text.trim().split(/\r?\n/).slice(1)
  if (rows.length === 0) throw new UsageError(`invalid --measured ${file}: it has no rows below its head`)
  return rows.map((row, at) => {
    const cells = row.split(/[,\t]/).map((cell) => cell.trim())
    const cell = (name: string) => cells[names.indexOf(name)] ?? ''
    const [m, n, k, value] = ['m', 'n', 'k', measure].map((name) => Number(cell(name))) as [
      number,
      number,
      number,
      number,
    ]
    const count = names.includes('count') ? Number(cell('count')) : 1
    if (![m, n, k, count].every((size) => Number.isInteger(size) && size > 0) || !(value > 0))
      throw new UsageError(
        `invalid --measured ${file}: line ${at + 2}: ${row} (expected whole sizes and a ${measure} above zero)`,
      )
    const unit = units[measure] as number
    const flopsPerSecond = Object.hasOwn(rates, measure) ? value * unit : (2 * count * m * n * k) / (value * unit)
    return { file, precision: precisionNamed(cell('dtype'), file), count, m, n, k, flopsPerSecond }
  })
}

/**
 * The best product of a run of `mamf-finder.py`: of its sustained rates (MSMF) if the version prints them, since a
 * training is longer than a burst; otherwise of the mean rates; in its first version, there is one.
 */
function mamf(text: string, file: string): MeasuredProduct[] {
  const dtype = /\*\* Dtype:\s*(\S+)/.exec(text)?.[1]
  if (dtype === undefined)
    throw new UsageError(`invalid --measured ${file}: it has no line "** Dtype:" of mamf-finder.py`)
  const best = [/^MSMF.*?:\s*([\d.]+)/m, /^mean:\s*([\d.]+)/m, /best outcome was\s*([\d.]+)/m]
    .map((label) => new RegExp(`${label.source}\\s*TFLOPS\\s*@\\s*(\\d+)x(\\d+)x(\\d+)`, 'm').exec(text))
    .find((match) => match !== null)
  if (!best) throw new UsageError(`invalid --measured ${file}: it has no line with the best mean of mamf-finder.py`)
  const [rate, m, n, k] = best.slice(1).map(Number) as [number, number, number, number]
  return [{ file, precision: precisionNamed(dtype, file), count: 1, m, n, k, flopsPerSecond: rate * 1e12 }]
}

export const hasPower = (text: string): boolean => /^[ \t]*Default Power Limit[ \t]*:/m.test(text)

/** The lowest limit of all devices, and the largest power without a limit. @throws UsageError if there is none */
export function readPower(text: string, file: string): MeasuredPower {
  const watts = (name: string) =>
    [...text.matchAll(new RegExp(`^[ \\t]*${name}[ \\t]*:[ \\t]*([\\d.]+)[ \\t]*W[ \\t\\r]*$`, 'gm'))].map(
      ([, value]) => Number(value),
    )
  const limits = watts('(?:Current |Enforced )?Power Limit')
  const defaults = watts('Default Power Limit')
  if (limits.length === 0 || defaults.length === 0)
    throw new UsageError(
      `invalid --measured ${file}: it has no limit of power in watts (expected nvidia-smi -q -d POWER)`,
    )
  return { file, limit: Math.min(...limits), design: Math.max(...defaults) }
}
