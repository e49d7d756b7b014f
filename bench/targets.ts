/**
 * Compares targets of speed, memory and cost with the results in docs/results/, in a table. It measures nothing, but
 * prints the commands that measure missing results.
 *
 * A target for all routings is met if the worst routing meets it, so the table shows the range and the worst routing.
 */
import { readdir } from 'node:fs/promises'
import { basename } from 'node:path'
import { fixed, percent } from '../src/core/text/numbers.ts'
import { type CompareRow, compareName } from './measure/compare.ts'
import { type GenerationRow, generateName } from './measure/compare-generation.ts'
import { type WeightsRow, weightsName } from './measure/generation.ts'
import type { StateRow } from './measure/optimizer-state.ts'
import { type ProfileResult, profileName } from './measure/profile.ts'
import { type PrototypesRow, prototypeRoutings, prototypesName } from './measure/prototypes.ts'
import type { EngineChoice } from './support/choir.ts'
import { routings, tableText } from './support/command.ts'
import { fileIn, type Machine, type RowFile, readJson, resultFile } from './support/results.ts'
import type { Target } from './support/target.ts'
import type { AgainstRow } from './training/against.ts'
import { distributedTargets } from './training/distributed/targets.ts'
import type { GpuRow } from './training/gpu/rows.ts'
import { gpuTargets } from './training/gpu/targets.ts'
import type { StartupResult } from './training/startup.ts'

type Choice = Pick<EngineChoice, 'math' | 'engine'> & { readonly autocast?: boolean }

const float32: Choice = { math: 'float32', engine: 'onednn' }
const bf16: Choice = { math: 'bf16', engine: 'onednn' }
const autocast: Choice = { ...bf16, autocast: true }
const onnxRuntimeAlone: Choice = { math: 'float32', engine: 'onnxruntime' }

const times = (value: number): string => `${fixed(value, 2)} ×`
const percentage = (value: number): string => percent(value, 1)

export async function printTargets(): Promise<void> {
  const machines = new Set<string>()
  const targets = await readTargets(async (name) => {
    const file = await readJson<{ machine: Machine }>(resultFile(name))
    if (file) machines.add(`${file.machine.cpu}, ${file.machine.logicalCores} cores`)
    return file
  })
  const where = machines.size === 0 ? '' : `\n  measured on ${[...machines].join('; ')}\n`
  process.stdout.write(`${targetsText(targets)}${where}`)
}

/** Returns the contents of a result file, or undefined if it does not exist. */
type Read = (name: string) => Promise<unknown>

export function targetsText(targets: readonly Target[]): string {
  const head = ['target', 'shape', 'required', 'aim', 'measured', '', 'worst']
  const rows = targets.map((target) => {
    const { name, shape, bound, required, aim, show } = target
    const sign = bound === 'min' ? '≥' : '≤'
    const { range, worst } = spread(target)
    return [name, shape, `${sign} ${show(required)}`, `${sign} ${show(aim)}`, range, verdictText(target), worst]
  })
  const commands = [...new Set(targets.filter(isIncomplete).map(({ command }) => command))]
  const missing =
    commands.length === 0
      ? ''
      : `\n  not measured, or not for every routing:\n${commands.map((line) => `    ${line}\n`).join('')}`
  return `${tableText([head, ...rows], 'llrrlll')}${missing}`
}

export function verdict(target: Target): 'aim met' | 'met' | 'missed' | 'not measured' | 'not all measured' {
  const { bound, required, aim, figures } = target
  if (figures.length === 0) return 'not measured'
  const reaches = (mark: number) => figures.every(({ value }) => (bound === 'min' ? value >= mark : value <= mark))
  if (!reaches(required)) return 'missed'
  if (isIncomplete(target)) return 'not all measured'
  return reaches(aim) ? 'aim met' : 'met'
}

const verdictText = (target: Target): string => {
  const found = verdict(target)
  return found === 'not measured' ? (target.unmeasured ?? found) : found
}

const isIncomplete = ({ figures, expected }: Target): boolean => figures.length < expected

function spread({ figures, bound, show }: Target): { range: string; worst: string } {
  const sorted = [...figures].sort((a, b) => a.value - b.value)
  const [lowest, highest] = [sorted[0], sorted.at(-1)]
  if (!lowest || !highest) return { range: '', worst: '' }
  const range = sorted.length === 1 ? show(lowest.value) : `${show(lowest.value)} .. ${show(highest.value)}`
  return { range, worst: (bound === 'min' ? lowest : highest).routing }
}

async function readTargets(read: Read): Promise<Target[]> {
  const shapes = ['S', 'M']
  const targets: Target[] = []
  const comparisons: readonly [string, Choice][] = [
    ['float32, oneDNN: speed', float32],
    ['bf16: speed', bf16],
    ['bf16: speed against autocast', autocast],
    ['float32, ONNX Runtime alone: speed', onnxRuntimeAlone],
  ]
  for (const [name, choice] of comparisons)
    for (const shape of shapes) {
      const [required, aim] = choice.engine === 'onednn' ? [1.1, choice.math === 'bf16' ? 1.3 : 1.5] : [0.95, 1.1]
      const figures = (await compareRows(read, shape, choice)).map(({ routing, speedRatio: value }) => ({
        routing,
        value,
      }))
      targets.push({ ...everyRouting(name, shape, choice), bound: 'min', required, aim, figures })
    }
  const handTuned = comparisons.filter(([, choice]) => !choice.autocast)
  for (const [name, choice] of handTuned.filter(([, { engine }]) => engine === 'onednn'))
    for (const shape of shapes) {
      const rows = await compareRows(read, shape, choice)
      const figures = rows.map(({ routing, choir }) => ({ routing, value: choir.mfu }))
      const [required, aim] = choice.math === 'bf16' ? [0.75, 0.85] : [0.85, 0.92]
      const about = { ...everyRouting(name.replace(': speed', ': MFU'), shape, choice), show: percentage }
      targets.push({ ...about, bound: 'min', required, aim, figures })
    }
  for (const [name, choice] of handTuned)
    for (const shape of shapes) {
      const rows = await compareRows(read, shape, choice)
      const figures = rows.map(({ routing, memoryRatio: value }) => ({ routing, value }))
      const about = everyRouting(name.replace(': speed', ': peak memory'), shape, choice)
      const [required, aim] = choice.math === 'bf16' ? [0.9, 0.75] : [1, 0.8]
      targets.push({ ...about, bound: 'max', required, aim, figures })
    }
  for (const shape of shapes) targets.push(...(await prototypeCost(read, shape, float32)))
  for (const preset of ['tiny', 'demo']) targets.push(await againstBefore(read, 'a small model', preset, []))
  for (const math of ['float32', 'bf16'] as const)
    targets.push(await againstBefore(read, 'a sequence of 4,096', 'demo', LONG_SEQUENCE, math))
  targets.push(
    ...(await optimizerState(read, 'S', 256)),
    ...(await optimizerState(read, 'S', 384)).slice(1),
    ...(await overhead(read, 'M')),
    await generation(read, 'M'),
    ...(await weights(read, 'M')),
    ...(await distributedTargets(read)),
    await startup(read),
  )
  return [...targets, ...(await gpus(read))]
}

/** Targets of GPUs; the results of each card are in a file of their own. */
async function gpus(read: Read): Promise<Target[]> {
  const names = (await readdir(fileIn('docs/results'))).filter((file) => /^gpu-.*\.json$/.test(file)).sort()
  const files = await Promise.all(names.map((name) => read(basename(name, '.json'))))
  return gpuTargets((files as RowFile<GpuRow>[]).map(({ rows }) => rows))
}

async function compareRows(read: Read, shape: string, choice: Choice): Promise<readonly CompareRow[]> {
  return ((await read(compareName({ shape, ...choice }))) as RowFile<CompareRow> | undefined)?.rows ?? []
}

function everyRouting(name: string, shape: string, { math, engine, autocast = false }: Choice) {
  const options = `${math === 'bf16' ? ' --math bf16' : ''}${engine === 'onednn' ? '' : ` --engine ${engine}`}`
  const command = `npm run bench -- --peer ${autocast ? 'autocast' : 'pytorch'} --shape ${shape}${options}`
  return { name, shape, expected: routings.length, show: times, command }
}

async function prototypeCost(read: Read, shape: string, choice: Choice): Promise<Target[]> {
  const file = (await read(prototypesName({ shape, ...choice }))) as RowFile<PrototypesRow> | undefined
  const target = (name: string, costOf: (row: PrototypesRow) => number): Target => ({
    name,
    shape,
    bound: 'max',
    required: 1.03,
    aim: 1,
    figures: (file?.rows ?? []).map((row) => ({ routing: row.routing, value: costOf(row) })),
    expected: prototypeRoutings.length,
    show: times,
    command: `npm run bench -- --prototypes --shape ${shape}${choice.math === 'bf16' ? ' --math bf16' : ''}`,
  })
  return [
    target(`${choice.math}: prototypes 1x over top-1`, ({ cost }) => cost),
    target('  as many expert rows on both sides', ({ equalRows }) => equalRows.cost),
  ]
}

/** Targets of compact moments of AdamW beside float32 moments, for models whose weights are nearly all in experts. */
async function optimizerState(read: Read, shape: string, experts: number): Promise<Target[]> {
  const file = (await read('optimizer-state')) as RowFile<StateRow> | undefined
  const rows = (file?.rows ?? []).filter((row) => row.shape === shape && row.experts === experts)
  const float32 = rows.find(({ state }) => state === 'float32')
  const best = (ratio: (row: StateRow, base: StateRow) => number, sign: 1 | -1) => {
    const compact = float32 ? rows.filter(({ state }) => state !== 'float32') : []
    const figures = compact.map((row) => ({ routing: row.state, value: ratio(row, float32 as StateRow) }))
    return figures.sort((a, b) => sign * (b.value - a.value)).slice(0, 1)
  }
  const about = {
    shape,
    expected: 1,
    show: times,
    command: `npx tsx bench/training/optimizer-state.ts --experts ${experts}`,
  }
  return [
    {
      ...{ ...about, name: `${experts} experts: compact moments, speed`, bound: 'min', required: 1.5, aim: 2 },
      figures: best((row, base) => row.tokensPerSecond / base.tokensPerSecond, 1),
    },
    {
      ...{ ...about, name: `${experts} experts: compact moments, peak memory`, bound: 'max', required: 0.65, aim: 0.5 },
      figures: best((row, base) => row.peakBytes / base.peakBytes, -1),
    },
  ]
}

async function overhead(read: Read, shape: string): Promise<Target[]> {
  const result = (await read(profileName({ shape, ...float32 }))) as ProfileResult | undefined
  const about = { shape, bound: 'max', required: 0.25, aim: 0.15, expected: 1, show: percentage } as const
  const command = `npm run bench -- --profile --shape ${shape}`
  const figuresOf = (value: number | undefined) =>
    result && value !== undefined ? [{ routing: result.routing, value }] : []
  return [
    { ...about, name: 'float32: step outside matmul kernels', figures: figuresOf(result?.otherShare), command },
    { ...about, name: '  stricter: beyond matmul ceiling', figures: figuresOf(result?.beyondCeilingShare), command },
  ]
}

/** Settings of a model of width 256 with a long sequence. */
const LONG_SEQUENCE = ['model.sequence=4096', 'model.width=256', 'train.batch=1']

/** Target of the speed divided by the speed of an earlier build. */
async function againstBefore(
  read: Read,
  what: string,
  preset: string,
  sets: readonly string[],
  math: Choice['math'] = 'float32',
): Promise<Target> {
  const file = (await read('against')) as RowFile<AgainstRow> | undefined
  const rows = (file?.rows ?? []).filter(
    (row) => row.preset === preset && row.math === math && row.sets.join() === sets.join(),
  )
  const options = [...sets.map((set) => `--set ${set}`), ...(math === 'bf16' ? ['--math bf16'] : [])]
  const command = [
    'npx tsx bench/training/against.ts CLONE',
    `--preset ${preset}`,
    ...options,
    '--out docs/results/against.json',
  ]
  return {
    name: `${math}: ${what}, over before`,
    shape: preset,
    bound: 'min',
    required: 1.3,
    aim: 2,
    figures: rows.map(({ against, speedRatio }) => ({ routing: `commit ${against}`, value: speedRatio })),
    expected: 1,
    show: times,
    command: command.join(' '),
  }
}

/** Targets of generation with each format of weights. */
async function weights(read: Read, shape: string): Promise<Target[]> {
  const file = (await read(weightsName(shape))) as RowFile<WeightsRow> | undefined
  const about = {
    shape,
    bound: 'min',
    expected: 1,
    command: `npx tsx bench/generation/generate.ts --shape ${shape}`,
  } as const
  const figures = (format: string, value: (row: WeightsRow) => number) =>
    (file?.rows ?? []).filter((row) => row.format === format).map((row) => ({ routing: 'top-1', value: value(row) }))
  return [
    {
      ...{ ...about, name: 'float32: generation, share of bandwidth', required: 0.75, aim: 0.9, show: percentage },
      figures: figures('float32', ({ share }) => share),
    },
    {
      ...{ ...about, name: 'int8 weights: generation, tokens/s over float32', required: 2, aim: 3, show: times },
      figures: figures('int8', ({ speedup }) => speedup),
    },
  ]
}

async function generation(read: Read, shape: string): Promise<Target> {
  const file = (await read(generateName(shape))) as RowFile<GenerationRow> | undefined
  return {
    name: 'float32: generation, tokens/s',
    shape,
    bound: 'min',
    required: 1.2,
    aim: 1.6,
    figures: (file?.rows ?? []).map(({ routing, speedRatio }) => ({ routing, value: speedRatio })),
    expected: 1,
    show: times,
    command: `npm run bench -- --peer pytorch --generate --shape ${shape}`,
  }
}

async function startup(read: Read): Promise<Target> {
  const result = (await read('startup')) as StartupResult | undefined
  const row = result?.rows.find(({ command, result }) => command === 'choir train demo' && result === 'first step')
  return {
    name: 'command to first step, warm cache',
    shape: 'demo',
    bound: 'max',
    required: 2,
    aim: 1,
    figures: row ? [{ routing: '', value: row.ms / 1000 }] : [],
    expected: 1,
    show: (seconds) => `${fixed(seconds, 2)} s`,
    command: 'npx tsx bench/training/startup.ts',
  }
}
