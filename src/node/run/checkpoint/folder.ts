/**
 * The folder of checkpoints: its entries by name, and the renames after which a process killed at any instant leaves
 * every checkpoint either whole or hidden. `checkpoint.ts` lists the names.
 */
import { readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RunError } from '../../../core/errors.ts'
import { folderName } from '../../../train/run/checkpoint/description.ts'
import { errorCode } from '../../system/disk.ts'
import { verifyFolder } from './verify-folder.ts'

type Kind = 'final' | 'replaced' | 'writing' | 'removed'

/** Entries of the folder of checkpoints, newest first. Among entries of the same step, the final one is first. */
export async function list(directory: string): Promise<{ name: string; step: number; kind: Kind }[]> {
  const names = await readdir(directory).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return []
    if (errorCode(error) === 'ENOTDIR')
      throw new RunError(
        `cannot read ${directory}: it is a file (expected the folder of checkpoints; restore it from a copy)`,
      )
    throw error
  })
  const found = names.flatMap((name) => {
    const [, step, kind = 'final'] =
      /^step-(\d{8,})(?:\.(replaced))?$/.exec(name) ?? /^\.step-(\d{8,})\.(writing|removed)$/.exec(name) ?? []
    return step === undefined ? [] : [{ name, step: Number(step), kind: kind as Kind }]
  })
  return found.sort((a, b) => b.step - a.step || Number(b.kind === 'final') - Number(a.kind === 'final'))
}

/** Names of the completely written checkpoints, newest first. */
export async function finished(directory: string): Promise<string[]> {
  const found = await list(directory)
  return found.filter(({ kind }) => kind === 'final' || kind === 'replaced').map(({ name }) => name)
}

/**
 * Cleans up after a killed process: unfinished writes, removals and replacements. If a checkpoint is damaged, and the
 * one that it replaced is still there and intact, the damaged one is set aside and the replaced one takes its place.
 */
export async function finishInterrupted(directory: string): Promise<void> {
  const found = await list(directory)
  for (const { name, step, kind } of found) {
    const path = join(directory, name)
    if (kind === 'writing') await rm(path, { recursive: true, force: true })
    // Leftovers of an old checkpoint do no harm if they cannot be removed because another user owns them.
    if (kind === 'removed') await rm(path, { recursive: true, force: true }).catch(() => undefined)
    if (kind !== 'replaced') continue
    const final = found.find((other) => other.step === step && other.kind === 'final')
    if (final && (await isWorse(join(directory, final.name), path, step))) await setAside(directory, [final.name])
    else if (final) {
      await remove(directory, step, path)
      continue
    }
    await rename(path, join(directory, folderName(step)))
  }
}

/** Whether a checkpoint is damaged and the one that it replaced is intact. Every byte is checked. */
async function isWorse(path: string, replaced: string, step: number): Promise<boolean> {
  if ('state' in (await verifyFolder(path, step, 'contents'))) return false
  return 'state' in (await verifyFolder(replaced, step, 'contents'))
}

/**
 * Renames the finished folder to its final name. An existing checkpoint of the same step stays valid under
 * its `.replaced` name until {@link finishInterrupted} removes it.
 */
export async function putInPlace(writing: string, path: string): Promise<void> {
  await rename(path, `${path}.replaced`).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error
  })
  await rename(writing, path)
}

/**
 * Removes all but the newest `keep` intact checkpoints up to a step.
 * @param spared Step of another checkpoint that stays.
 */
export async function prune(directory: string, step: number, keep: number, spared: number | null): Promise<void> {
  let intact = 0
  for (const found of await list(directory)) {
    // Newer checkpoints are damaged ones that were skipped at the start: neither remove nor count them.
    if (found.kind !== 'final' || found.step > step) continue
    const path = join(directory, found.name)
    if (intact >= keep && found.step === spared) continue
    if (intact >= keep) await remove(directory, found.step, path)
    else if ('state' in (await verifyFolder(path, found.step, 'sizes'))) intact++
  }
}

/**
 * Renames the checkpoints of steps later than `step`, so that the next training does not continue from them.
 * @returns Their new names
 */
export async function setAsideLater(directory: string, step: number): Promise<string[]> {
  const later = (await list(directory)).filter((found) => found.step > step && !found.name.startsWith('.'))
  const names = later.map(({ name }) => name)
  return (await setAside(directory, names)).sort()
}

/** Renames checkpoints to names that nothing reads, and returns these. */
async function setAside(directory: string, checkpoints: readonly string[]): Promise<string[]> {
  const taken = new Set(await readdir(directory))
  const names: string[] = []
  for (const name of checkpoints) {
    let aside = `${name}.aside`
    for (let i = 2; taken.has(aside); i++) aside = `${name}.aside-${i}`
    await rename(join(directory, name), join(directory, aside))
    names.push(aside)
  }
  return names
}

/** Renames a checkpoint before removing it, so that a half-removed checkpoint is never seen under its name. */
async function remove(directory: string, step: number, path: string): Promise<void> {
  const hidden = join(directory, `.${folderName(step)}.removed`)
  await rename(path, hidden)
  await rm(hidden, { recursive: true, force: true })
}
