/** Changes runs and then continues them, for changed-run.test.ts and damaged-run.test.ts. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { differences as settingsThatDiffer } from '../../src/core/config/differences.ts'
import type { RunConfig } from '../../src/core/config/run-config.ts'
import { RunError, UsageError } from '../../src/core/errors.ts'
import { loadConfig, loadRunConfig } from '../../src/node/run/load-config.ts'
import { train } from '../../src/node/train/train.ts'
import { refusedChanges } from '../../src/train/run/resume-settings.ts'
import { count } from '../support/soak.ts'
import { faultOf } from './outcome.ts'
import { type Change, type Folders, STEPS } from './run-changes.ts'
import { differences, faultsOfResults, lossesOf, type Tree, treeOf, untouched } from './run-witness.ts'

const KEEP = 2
const LAST = 6
/** Milliseconds after which a training hangs; it usually takes a tenth of a second. */
const HANG = 20_000

let folder: string
/** The run after 2, 4 and 6 steps. Changes are made to copies of the second. */
let [older, intact, newer] = ['', '', '']
let trees: Tree[]
let original: RunConfig
let cases = 0
/** Trains the runs; call it before all tests of a file. */
export async function prepareRuns(): Promise<void> {
  folder = mkdtempSync(join(tmpdir(), 'choir-fuzz-'))
  writeFileSync(join(folder, 'text.txt'), 'A text of some words, again and again.\n\n'.repeat(400))
  const model = ['vocabulary=257', 'layers=1', 'width=8', 'heads=1', 'sequence=8', 'hidden=8', 'moe.hidden=8']
  const often = [`checkpointEvery=${STEPS}`, `evalEvery=${STEPS}`, 'routingEvery=1', 'evalBatches=1', 'batch=2']
  const data = ['tokenizer.kind=bytes', `source=${folder}/text.txt`, `cache=${folder}/cache`]
  original = await loadConfig('tiny', [
    ...model.map((set) => `model.${set}`),
    ...[...often, `steps=${LAST}`, `keep=${KEEP}`].map((set) => `train.${set}`),
    ...data.map((set) => `data.${set}`),
    'runtime.threads=1',
  ])
  ;[older, intact, newer] = [join(folder, 'older'), join(folder, 'intact'), join(folder, 'newer')]
  await trainTo(older, original, false, STEPS)
  cpSync(older, intact, { recursive: true })
  await trainTo(intact, original, true, 2 * STEPS)
  cpSync(intact, newer, { recursive: true })
  await trainTo(newer, original, true, LAST)
  trees = [older, intact, newer].map((run) => treeOf(run))
}

export const removeRuns = (): void => rmSync(folder, { recursive: true, force: true })

/** The bytes of a file of the run that is changed. */
export const contentsOf = (place: string): Buffer => readFileSync(join(intact, place))

/** Trains up to a step, where it stops as if by Ctrl-C. Returns the step of the checkpoint that was continued. */
async function trainTo(directory: string, config: RunConfig, resume: boolean, step: number): Promise<number> {
  let from = Number.NaN
  const stop = new AbortController()
  await train(config, {
    directory,
    resume,
    signal: stop.signal,
    onEvent: (event) => {
      if (event.kind === 'start') from = event.fromStep
      // A stop at the record of a step would leave its evaluation for later.
      if (event.kind === 'checkpoint' && event.step >= step) stop.abort()
    },
  })
  return from
}

interface Outcome {
  readonly error?: unknown
  readonly from: number
  /** Whether config.json has other settings, which give other results. */
  readonly isOther: boolean
  /** Whether a run may not change some of these settings. */
  readonly isEdited: boolean
}

async function resumed(run: string): Promise<Outcome> {
  let [isOther, isEdited] = [false, false]
  const work = async () => {
    const config = await loadRunConfig(run)
    isOther = !isDeepStrictEqual(config, original)
    isEdited = refusedChanges(settingsThatDiffer(original, config)).length > 0
    return trainTo(run, config, true, LAST)
  }
  let timer: NodeJS.Timeout | undefined
  const hang = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('it hangs')), HANG)
  })
  try {
    return { from: await Promise.race([work(), hang]), isOther, isEdited }
  } catch (error) {
    return { error, from: Number.NaN, isOther, isEdited }
  } finally {
    clearTimeout(timer)
  }
}

/**
 * Changes a copy of the run and continues it.
 * @returns Promises that were broken; after several changes, only promises about results and about files outside.
 */
export async function faultsAfter(changes: readonly ((folders: Folders) => void)[], isOne = true): Promise<string[]> {
  const place = join(folder, `case-${++cases}`)
  const [run, outside] = [join(place, 'run'), join(place, 'outside')]
  cpSync(intact, run, { recursive: true })
  mkdirSync(join(outside, 'empty'), { recursive: true })
  writeFileSync(join(outside, 'other.txt'), '{"a": "file of someone else"}\n')
  for (const change of changes) change({ run, outside, older, newer })
  const [before, beforeOutside] = [treeOf(run), treeOf(outside)]
  const { error, from, isOther, isEdited } = await resumed(run)
  const after = treeOf(run)
  const faults = differences(beforeOutside, treeOf(outside)).map((path) => `changed outside: ${path}`)
  if (error !== undefined) {
    faults.push(...faultsOfRefusal(error, run))
    const differing = differences(before, after).filter((path) => path !== '.lock')
    if (isOne) faults.push(...differing.map((path) => `refused, but changed ${path}`))
    if (faults.length > 0) faults.push(`after: ${error instanceof Error ? error.message : error}`)
  } else if (isEdited && from > 0) faults.push(`continued from ${from} with settings of another run`)
  else if (!isOther) {
    faults.push(...faultsOfResults(after, trees[2] as Tree, from))
    if (isOne) faults.push(...lossesOf(before, after, from, KEEP))
    const newest = Math.max(...untouched(before, trees))
    if (from < newest) faults.push(`continued from ${from} instead of ${newest}`)
  }
  if (faults.length === 0) rmSync(place, { recursive: true })
  return faults
}

function faultsOfRefusal(error: unknown, run: string): string[] {
  if (!(error instanceof UsageError || error instanceof RunError)) return ['an error of another class']
  const fault = faultOf({ code: 1, stderr: error.message })
  return [...(fault === null ? [] : [fault]), ...(error.message.includes(run) ? [] : ['no path in the message'])]
}

/**
 * Places where the run has no file: names that a training uses now and then, and names that a user may choose. All
 * places of a list are changed together.
 */
export const free = [
  ['.lock'],
  ['config.json.tmp', 'engine.json.tmp', 'metrics.jsonl.tmp', 'routing.jsonl.tmp'],
  ['metrics.jsonl.damaged', 'non-finite', 'notes', 'checkpoints/notes', 'checkpoints/step-00000006.aside'],
  ['checkpoints/.step-00000006.writing', 'checkpoints/.step-00000010.writing'],
  ['checkpoints/step-00000005'],
  ['checkpoints/step-00000006'],
  ['checkpoints/step-00000006.replaced'],
  ['checkpoints/.step-00000002.removed', 'checkpoints/step-00000002.replaced'],
]

export const paths = (isFolder: boolean): string[] =>
  [...(trees[1] as Tree)].flatMap(([path, entry]) => ((entry === 'folder') === isFolder ? path : []))

/**
 * The files of the run, in lists that are changed together. All files of the older checkpoint are one list, and all
 * files for TensorBoard another.
 */
export function files(): string[][] {
  const together = [/^checkpoints\/step-00000002/, /^events\./]
  const single = paths(false).filter((path) => !together.some((pattern) => pattern.test(path)))
  return [
    ...single.map((path) => [path]),
    ...together.map((pattern) => paths(false).filter((path) => pattern.test(path))),
  ]
}

/** The broken promises after a change of each place, by place. */
export async function faultsOf(
  places: readonly (readonly string[])[],
  change: Change,
  instants: readonly number[] = [0],
): Promise<Record<string, string[]>> {
  const found: Record<string, string[]> = {}
  const all = places.flatMap((together) => instants.map((at) => ({ together, at })))
  count('input', all.length)
  // Three trainings run at once, since much of a short training is waiting for the disk.
  const work = async (): Promise<void> => {
    for (let next = all.shift(); next; next = all.shift()) {
      const { together, at } = next
      const faults = await faultsAfter(together.map((place) => (folders) => change(folders, place, at)))
      if (faults.length > 0) found[`${together.join()} at ${at}`] = faults
    }
  }
  await Promise.all([work(), work(), work()])
  return found
}
