/**
 * Checks the contents of a run directory after the run was continued, given its contents before. The rules come from
 * docs/run-directory.md, not from the code that continues runs.
 */
import { createHash } from 'node:crypto'
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'

/** Everything in a folder: files with their contents (a character for a byte), and the kinds of other things. */
export type Tree = ReadonlyMap<string, string>

export function treeOf(folder: string, path = '', tree = new Map<string, string>()): Tree {
  for (const entry of readdirSync(join(folder, path)).sort()) {
    const name = path === '' ? entry : `${path}/${entry}`
    const full = join(folder, name)
    const status = lstatSync(full)
    if (status.isDirectory()) {
      tree.set(name, 'folder')
      treeOf(folder, name, tree)
    } else if (status.isSymbolicLink()) tree.set(name, `link to ${readlinkSync(full)}`)
    else if (status.isFile()) tree.set(name, `file ${readFileSync(full, 'latin1')}`)
    else tree.set(name, 'pipe')
  }
  return tree
}

/** The paths in which two trees differ. */
export const differences = (before: Tree, after: Tree): string[] =>
  [...new Set([...before.keys(), ...after.keys()])].filter((path) => before.get(path) !== after.get(path))

const contentsOf = (tree: Tree, path: string): string | undefined => {
  const entry = tree.get(path)
  return entry?.startsWith('file ') ? entry.slice(5) : undefined
}

const below = (tree: Tree, folder: string): [string, string][] =>
  [...tree].filter(([path]) => path === folder || path.startsWith(`${folder}/`))

const isEqualBelow = (a: Tree, b: Tree, folder: string): boolean =>
  isDeepStrictEqual(below(a, folder), below(b, folder))

interface Line {
  readonly text: string
  /** Step of a record; null for a line that no training wrote. */
  readonly step: number | null
}

/** The lines of a log; text after the last newline is not a line. */
function linesOf(log: string): Line[] {
  return log
    .split('\n')
    .slice(0, -1)
    .map((text) => ({ text, step: stepOf(text) }))
}

function stepOf(text: string): number | null {
  try {
    const { step } = JSON.parse(text)
    return typeof step === 'number' ? step : null
  } catch {
    return null
  }
}

/** The records of a log after step `from`, without measured times. */
const recordsAfter = (from: number, log: string | undefined): unknown[] =>
  linesOf(log ?? '').flatMap(({ text, step }) => {
    if (step === null || step <= from) return []
    const { tokens_per_second, step_ms, mfu, ...record } = JSON.parse(text)
    return [record]
  })

const logs = ['metrics.jsonl', 'routing.jsonl']

/** Whether a path has a temporary name, under which a process writes files and folders, or keeps them to be removed. */
const isTemporary = (path: string): boolean =>
  /(^|\/)(\.?step-\d+\.(writing|removed|replaced)|[^/]+\.tmp)(\/|$)/.test(path)

const folderOf = (step: number): string => `checkpoints/step-${String(step).padStart(8, '0')}`

const stepsOf = (tree: Tree): number[] =>
  [...tree.keys()].flatMap((path) => /^checkpoints\/step-(\d{8})$/.exec(path)?.[1] ?? []).map(Number)

/** Whether every file of a checkpoint has the checksum that SHA256SUMS lists. */
function isIntact(tree: Tree, step: number): boolean {
  const sums = contentsOf(tree, `${folderOf(step)}/SHA256SUMS`) ?? ''
  const lines = sums.split('\n').filter((line) => line !== '')
  return (
    lines.length > 0 &&
    lines.every((line) => {
      const [sum, name] = line.split('  ')
      const contents = contentsOf(tree, `${folderOf(step)}/${name}`)
      return contents !== undefined && createHash('sha256').update(contents, 'latin1').digest('hex') === sum
    })
  )
}

/** The steps of the checkpoints that equal a checkpoint of an untouched run bit for bit. */
export const untouched = (tree: Tree, originals: readonly Tree[]): number[] =>
  stepsOf(tree).filter((step) =>
    originals.some((original) => original.has(folderOf(step)) && isEqualBelow(tree, original, folderOf(step))),
  )

/**
 * Results of a run, continued from step `from`, that differ from the unchanged run `whole`: the last checkpoint, and
 * the records of later steps.
 */
export function faultsOfResults(after: Tree, whole: Tree, from: number): string[] {
  const last = Math.max(...stepsOf(whole))
  const faults: string[] = []
  const sums = `${folderOf(last)}/SHA256SUMS`
  if (!isIntact(after, last)) faults.push(`the checkpoint of step ${last} is not intact`)
  if (after.get(sums) !== whole.get(sums)) faults.push(`the checkpoint of step ${last} has other bits`)
  for (const log of logs) {
    const computed = recordsAfter(from, contentsOf(after, log))
    const expected = recordsAfter(from, contentsOf(whole, log))
    if (!isDeepStrictEqual(computed, expected)) faults.push(`${log} has other records after step ${from}`)
  }
  return faults
}

/**
 * Files and records that were lost when a run was continued from step `from`.
 * @param before The changed run, before it was continued.
 * @param keep `train.keep`
 */
export function lossesOf(before: Tree, after: Tree, from: number, keep: number): string[] {
  const faults = logs.flatMap((log) => lossesOfLog(log, before, after, from))
  for (const [path, entry] of before) {
    if (logs.includes(path) || path === '.lock' || path === 'engine.json' || isTemporary(path)) continue
    const step = Number(/^checkpoints\/step-(\d{8})(\/|$)/.exec(path)?.[1] ?? Number.NaN)
    const isPruned = !after.has(folderOf(step)) && stepsOf(after).filter((other) => other > step).length >= keep
    // The checkpoint was damaged, and its step was computed again.
    const isReplaced = step > from && isIntact(after, step)
    if (after.get(path) !== entry && !isPruned && !isReplaced)
      faults.push(`${path} is ${after.has(path) ? 'changed' : 'lost'}`)
  }
  return faults
}

/** Records up to the checkpoint stay as they are, and a log with other lines is kept. */
function lossesOfLog(log: string, before: Tree, after: Tree, from: number): string[] {
  const old = contentsOf(before, log) ?? ''
  const text = contentsOf(after, log)
  if (text === undefined) return [`${log} is lost`]
  const faults: string[] = []
  const lines = linesOf(text)
  const known = (line: Line) => line.step !== null && line.step <= from
  const kept = lines.filter(known).map((line) => line.text)
  const wanted = linesOf(old).filter(known)
  if (!text.endsWith('\n') && text !== '') faults.push(`${log} ends without a newline`)
  if (lines.some(({ step }) => step === null)) faults.push(`${log} has lines that are not records`)
  for (const { text } of wanted) if (!kept.includes(text)) faults.push(`${log} has lost ${text.slice(0, 40)}`)
  for (const text of kept)
    if (!wanted.some((line) => line.text === text)) faults.push(`${log} has a new line ${text.slice(0, 40)}`)
  const hasOthers = linesOf(old).some(({ step }) => step === null)
  if (hasOthers && ![...after].some(([path, entry]) => path.startsWith(`${log}.damaged`) && entry === `file ${old}`))
    faults.push(`${log} had unreadable lines and was not kept`)
  return faults
}
