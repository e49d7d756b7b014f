/** Options that commands share. Values are checked when they are parsed; errors name option, value and range. */
import { type Command, Option } from 'commander'
import { formatValue } from '../../core/config/problems.ts'
import { UsageError } from '../../core/errors.ts'
import {
  bytesExpected,
  parseBytes,
  parseProbability,
  parseTokens,
  probabilityExpected,
  tokensExpected,
} from '../../core/text/amounts.ts'
import { grouped } from '../../core/text/numbers.ts'
import type { Precision } from '../../engine/contract/runtime.ts'
import { type WeightFormat, weightFormats } from '../../use/infer/quantized/weight-format.ts'

/** Values of {@link deviceOption}, {@link threadsOption} and {@link mathOption}. */
export interface EngineFlags {
  readonly device?: Device
  readonly threads?: number
  readonly math?: Precision
}

export type Device = 'cpu' | 'webgpu'

interface Range {
  readonly integer?: boolean
  readonly minimum?: number
  readonly maximum?: number
  /** Lower end of the range, itself excluded. */
  readonly above?: number
  /** The range in words, for error messages. */
  readonly expected: string
  /** Reason for the maximum, if `expected` does not name the maximum. */
  readonly reason?: string
}

const positiveInteger: Range = { integer: true, minimum: 1, expected: 'a positive integer' }
const count: Range = { integer: true, minimum: 0, expected: 'an integer of at least 0' }
const nonNegative: Range = { minimum: 0, expected: 'a number of at least 0' }
const positive: Range = { above: 0, expected: 'a number above 0' }
const port: Range = { integer: true, minimum: 0, maximum: 65_535, expected: 'a port up to 65535, or 0 for any' }
const threads: Range = {
  ...positiveInteger,
  maximum: 1024,
  reason: 'threads beyond the cores of a machine only take turns, and each takes memory',
}
const processes: Range = { ...positiveInteger, maximum: 100_000, reason: 'no cluster has nearly as many' }
const share: Range = { above: 0, maximum: 1, expected: 'a number above 0 and at most 1' }

export const ranges = { positive, positiveInteger, count, nonNegative, port, threads, processes, share }

const decimal = /^\s*[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?\s*$/i

/** An option with a number, e.g. `numberOption('--tokens <n>', 'tokens to generate', ranges.positiveInteger)`. */
export function numberOption(flags: string, description: string, range: Range): Option {
  const option = new Option(flags, description)
  return option.argParser((text: string) => {
    // `Number` alone would also accept an empty text, and notations of programming languages such as 0x50.
    const value = decimal.test(text) ? Number(text) : Number.NaN
    const valid =
      Number.isFinite(value) &&
      (!range.integer || Number.isSafeInteger(value)) &&
      value >= (range.minimum ?? -Infinity) &&
      value <= (range.maximum ?? Infinity) &&
      value > (range.above ?? -Infinity)
    if (valid) return value
    const { expected, maximum = Infinity, reason } = range
    const limit = reason !== undefined && value > maximum ? `at most ${grouped(maximum)}: ${reason}` : expected
    throw new UsageError(`invalid ${option.long}: ${formatValue(text)} (expected ${limit})`)
  })
}

/** An option that may be repeated. Its value is a list, or undefined if it is not given. */
export function listOption(flags: string, description: string): Option {
  return new Option(flags, description).argParser((text: string, before: readonly string[] = []) => [...before, text])
}

const secondsOfUnit: Readonly<Record<string, number>> = { d: 86_400, h: 3600, m: 60, s: 1 }

/** An option with a duration, such as 90m, 2h, 1h30m or 2d. Its value is in seconds. */
export function durationOption(flags: string, description: string): Option {
  const option = new Option(flags, description)
  return option.argParser((text: string) => {
    const compact = text.trim().toLowerCase()
    const parts = [...compact.matchAll(/(\d{1,12}(?:\.\d{1,12})?)([dhms])/g)]
    const isWhole = parts.map(([part]) => part).join('') === compact
    const units = parts.map(([, , unit = '']) => 'dhms'.indexOf(unit))
    const isFalling = units.every((unit, i) => i === 0 || unit > (units[i - 1] as number))
    const seconds = parts.reduce((sum, [, size, unit = '']) => sum + Number(size) * (secondsOfUnit[unit] as number), 0)
    if (isWhole && isFalling && seconds > 0 && Number.isFinite(seconds)) return seconds
    throw new UsageError(
      `invalid ${option.long}: ${formatValue(text)} (expected a time in days, hours, minutes or seconds, such as 90m, 2h, 1h30m or 2d)`,
    )
  })
}

/** An option with a number of tokens, such as 5000, 300M or 2B. */
export function tokensOption(description: string, flags = '--tokens <n>'): Option {
  const option = new Option(flags, description)
  return option.argParser((text: string) => {
    const tokens = parseTokens(text)
    if (tokens !== undefined) return tokens
    throw new UsageError(`invalid ${option.long}: ${formatValue(text)} (expected ${tokensExpected})`)
  })
}

/** An option with a size of memory, such as 500MB or 4GiB. Its value is in bytes. */
export function bytesOption(flags: string, description: string): Option {
  const option = new Option(flags, description)
  return option.argParser((text: string) => {
    const bytes = parseBytes(text)
    if (bytes !== undefined) return bytes
    throw new UsageError(`invalid ${option.long}: ${formatValue(text)} (expected ${bytesExpected})`)
  })
}

/** An option with a probability, such as 0.9 or 90%. */
export function probabilityOption(flags: string, description: string): Option {
  const option = new Option(flags, description)
  return option.argParser((text: string) => {
    const probability = parseProbability(text)
    if (probability !== undefined) return probability
    throw new UsageError(`invalid ${option.long}: ${formatValue(text)} (expected ${probabilityExpected})`)
  })
}

export function deviceOption(): Option {
  const description = 'where to compute: the CPU, or a GPU through WebGPU (see: choir devices)'
  return new Option('--device <name>', description).choices(['cpu', 'webgpu'])
}

export function gpuOption(): Option {
  const description =
    'with --device webgpu, the GPU of this number, from 0 (default: CHOIR_GPU; otherwise the fastest GPU, or a GPU for each rank)'
  return numberOption('--gpu <n>', description, ranges.count)
}

function weightsOption(): Option {
  const description =
    'format of the weights: matrices of bf16 have half of the size, of int8 a quarter, of int4 a seventh, so a token is faster on a CPU'
  return new Option('--weights <format>', description).choices(weightFormats).default('float32' satisfies WeightFormat)
}

function copyOption(): Option {
  const description =
    'neither read nor keep the rounded weights in a folder beside a large model that is not a run (with --weights)'
  return new Option('--no-copy', description)
}

export function threadsOption(): Option {
  return numberOption('--threads <n>', 'threads to compute with (default: one per physical core)', threads)
}

export function mathOption(): Option {
  const description =
    'precision of matrix products; bf16 (bfloat16 factors, float32 sums) needs oneDNN, f16 (f16 factors and ' +
    'activations, float32 sums) needs --device webgpu'
  return new Option('--math <precision>', description).choices(['float32', 'bf16', 'f16'])
}

/** Values of {@link withModelOptions}. */
export interface ModelFlags extends EngineFlags {
  readonly checkpoint?: number
  readonly weights: WeightFormat
  readonly copy: boolean
}

/**
 * Adds the options of commands that load a model: which checkpoint, and how it is computed.
 * @param math Whether the precision of matrix products can be chosen.
 */
export function withModelOptions(command: Command, { math = true } = {}): Command {
  const options = [checkpointOption(), deviceOption(), threadsOption(), weightsOption(), copyOption()]
  for (const option of math ? [...options, mathOption()] : options) command.addOption(option)
  return command
}

/** The engine flags as assignments to configuration fields. */
export function engineSets({ device, threads, math }: EngineFlags): string[] {
  return [
    ...(device === undefined ? [] : [`runtime.device=${device}`]),
    ...(threads === undefined ? [] : [`runtime.threads=${threads}`]),
    ...(math === undefined ? [] : [`runtime.math=${math}`]),
  ]
}

/** The engine flags as arguments of a command line. */
export function engineArgs({ device, threads, math }: EngineFlags): string[] {
  return [
    ...(device === undefined ? [] : ['--device', device]),
    ...(threads === undefined ? [] : ['--threads', String(threads)]),
    ...(math === undefined ? [] : ['--math', math]),
  ]
}

export function traceOption(): Option {
  return new Option('--trace <file>', 'write a timeline of all threads in the last step, for ui.perfetto.dev')
}

export function jsonOption(): Option {
  return new Option('--json', 'print JSON, one object per line, and nothing else')
}

/** An option with the step of a checkpoint; the name of its folder, such as step-00000400, is accepted too. */
export function checkpointOption(description = 'use the checkpoint of this step'): Option {
  const option = new Option('--checkpoint <step>', `${description} (default: the newest)`)
  return option.argParser((text: string) => {
    const step = Number(/^(?:step-)?(\d+)$/.exec(text)?.[1])
    if (!Number.isSafeInteger(step))
      throw new UsageError(`invalid --checkpoint: ${JSON.stringify(text)} (expected a step, such as 400)`)
    return step
  })
}

export function setOption(): Option {
  return listOption('--set <path=value>', 'set a configuration field, such as train.steps=500; repeatable')
}

export const resumeOption = (): Option =>
  new Option(
    '--resume <dir>',
    'continue the run in this directory from its newest checkpoint; --data is the path of its text now',
  )

export const fromOption = (): Option =>
  new Option(
    '--from <run>',
    'begin a new run with the weights, tokenizer and settings of this one; CONFIG, --set, --data override settings',
  )

export const forkOption = (): Option =>
  new Option(
    '--fork <run>',
    'continue this one in a new run, from --checkpoint, with its optimizer state and place in the text; --set overrides settings',
  )

/** A repeatable option with patterns of parameters that a training leaves as they are. */
export function freezeOption(): Option {
  const description = "parameters that stay as they are (train.freeze), such as embedding or 'layers.0.*'; repeatable"
  return listOption('--freeze <pattern>', description)
}

/** The patterns of {@link freezeOption} as an assignment to `train.freeze`. */
export const freezeSets = (patterns: readonly string[] | undefined): string[] =>
  patterns === undefined ? [] : [`train.freeze=${JSON.stringify(patterns)}`]

/** A repeatable option with the text of a training. */
export function dataOption(defaultText: string): Option {
  return listOption(
    '--data <source>',
    `text: a corpus name, file, folder or glob; repeatable (default: ${defaultText})`,
  )
}

/**
 * The text of {@link dataOption} as an assignment to `data.source`.
 * @throws UsageError if one of `sets` assigns `data.source` too
 */
export function dataSets(data: readonly string[] | undefined, sets: readonly string[] = []): string[] {
  if (data === undefined) return []
  const other = sets.find((set) => /^\s*data(\.source)?\s*=/.test(set))
  if (other !== undefined)
    throw new UsageError(
      `invalid --data: ${JSON.stringify(data[0])} (--set ${other} gives another text: leave out one)`,
    )
  return [`data.source=${JSON.stringify(data.length === 1 ? data[0] : data)}`]
}
