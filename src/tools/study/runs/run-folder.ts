/**
 * The directory of a run and its copies. If the machine that trained it is gone, its lock is still there, and the run
 * cannot be continued in place: that machine may only have been suspended, and would write into it again. So the run
 * continues in a copy beside it, whose name has the next number. A branch begins as a copy of the run that it continues.
 */

import { existsSync } from 'node:fs'
import { cp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { RunError, UsageError } from '../../../core/errors.ts'
import { checkpointOf } from '../../../node/run/checkpoint/checkpoint.ts'
import { checkpointsOf } from '../../../node/run/run-directory.ts'
import { folderOfRun, studyFolders } from '../../../node/run/study-arm.ts'
import { isLockedElsewhere, LOCK_FILE } from '../../../node/system/lock.ts'
import { folderName } from '../../../train/run/checkpoint/description.ts'
import type { Cell } from '../contract.ts'
import { firstStepOf, stepsOf } from '../grid/cells.ts'

/**
 * The directory in which to start or continue a run.
 * @param path Directory of its first attempt.
 */
export async function runFolder(path: string): Promise<string> {
  const number = await lastNumber(path)
  const current = numbered(path, number)
  if (!(await isLockedElsewhere(current))) return current
  const next = numbered(path, number + 1)
  await copyRun(current, next)
  return next
}

/** The directory of the last attempt. @param path Directory of the first attempt. */
export const currentFolder = async (path: string): Promise<string> => numbered(path, await lastNumber(path))

/**
 * Makes the directory of a run that continues another run from one of its checkpoints: a copy with this checkpoint and
 * the logs. The training is resumed in the copy, under its own configuration.
 * @returns The reason why that is not possible, so that the run must be trained from its start; null if it was done.
 */
export async function branchOff(trunk: Trunk, to: string): Promise<string | null> {
  const folder = checkpointsOf(trunk.directory)
  try {
    if (!(await checkpointOf(folder, trunk.step))) return 'the checkpoint that it would continue is gone'
  } catch (error) {
    if (error instanceof UsageError) return 'the checkpoint that it would continue is gone'
    if (error instanceof RunError) return error.message
    throw error
  }
  const name = folderName(trunk.step)
  const done = await copyRun(trunk.directory, to, (checkpoint) => checkpoint === name)
  return done ? null : 'the run that it would continue cannot be copied'
}

/** A checkpoint of another run, from which a branch continues. */
export interface Trunk {
  readonly directory: string
  readonly step: number
}

/**
 * A file among the checkpoints of a run that are removed once its result is kept. It is written before the result and
 * removed after the checkpoints, so a study that is killed between the two leaves it, and its next start knows that
 * these checkpoints were not meant to stay.
 */
const REMOVABLE = '.removable'

/**
 * A file among checkpoints that stay, because the run ended with --keep-checkpoints. Later starts without that option
 * leave them alone.
 */
const KEPT = '.kept'

/**
 * What becomes of the checkpoints of a run that has a result: they are removed, they stay, or another run continues them
 * and decides.
 */
type Fate = 'removable' | 'kept' | 'continued'

/** Marks the checkpoints of a run. Checkpoints that were marked to stay keep their mark. */
async function markCheckpoints(directory: string, fate: Fate): Promise<void> {
  const folder = checkpointsOf(directory)
  // Without this folder there is nothing to mark.
  const mark = (name: string) => writeFile(join(folder, name), '').catch(() => {})
  if (fate === 'kept') await mark(KEPT)
  if (fate === 'removable' && !areKept(directory)) await mark(REMOVABLE)
  else await rm(join(folder, REMOVABLE), { force: true })
}

const areKept = (directory: string): boolean => existsSync(join(checkpointsOf(directory), KEPT))

/** Whether the checkpoints of a run are marked for removal. */
const areRemovable = (directory: string): boolean => existsSync(join(checkpointsOf(directory), REMOVABLE))

/**
 * Removes the checkpoints of a run, and then their mark, unless they were marked to stay. On some systems that may fail
 * for a while, which does no harm.
 * @param spared Step of a checkpoint that stays.
 */
export async function removeCheckpoints(directory: string, spared?: number): Promise<void> {
  if (areKept(directory)) return
  const folder = checkpointsOf(directory)
  const names = await readdir(folder).catch((): string[] => [])
  const stays = spared === undefined ? null : folderName(spared)
  try {
    for (const name of names)
      if (name !== stays && name !== REMOVABLE) await rm(join(folder, name), { recursive: true, force: true })
    await rm(stays === null ? folder : join(folder, REMOVABLE), { recursive: true, force: true })
  } catch {
    // What is left keeps its mark for the next start.
  }
}

/** Removes the directories of earlier attempts. On some systems that may fail for a while, which does no harm. */
export async function removeEarlier(path: string, current: string): Promise<void> {
  for (let number = 1; numbered(path, number) !== current; number++)
    await rm(numbered(path, number), { recursive: true, force: true }).catch(() => {})
}

const numbered = (path: string, number: number): string => (number === 1 ? path : `${path}-${number}`)

async function lastNumber(path: string): Promise<number> {
  const names = new Set(await readdir(dirname(path)).catch((): string[] => []))
  const numbers = [...names].flatMap((name) =>
    name.startsWith(`${basename(path)}-`) ? [Number(name.slice(basename(path).length + 1))] : [],
  )
  return Math.max(1, ...numbers.filter(Number.isInteger))
}

/**
 * Copies a run. Checkpoints are copied first: then the logs have all steps of the newest checkpoint, even if the run is
 * still being written. Returns whether the copy was made; without a copy the run starts again.
 */
async function copyRun(from: string, to: string, isCopied = (_checkpoint: string) => true): Promise<boolean> {
  const draft = `${to}.copy`
  await rm(draft, { recursive: true, force: true })
  try {
    const folder = checkpointsOf(from)
    const names = await readdir(folder).catch((): string[] => [])
    for (const name of names.filter(isCopied)) {
      const copy = join(checkpointsOf(draft), name)
      await cp(join(folder, name), copy, { recursive: true }).catch(() => rm(copy, { recursive: true, force: true }))
    }
    const filter = (path: string) => !basename(path).startsWith(LOCK_FILE) && basename(path) !== 'checkpoints'
    await cp(from, draft, { recursive: true, filter })
    await rename(draft, to)
    return true
  } catch {
    await rm(draft, { recursive: true, force: true })
    return false
  }
}

/**
 * The run directories of the cells of a study: where each directory is, which checkpoint a branch starts from, and when
 * checkpoints are removed.
 */

const folders: Readonly<Record<Cell['rate'], string>> = {
  common: studyFolders.runs,
  best: studyFolders.runs,
  trial: studyFolders.trials,
  confirm: studyFolders.confirming,
}

export class CellFolders {
  private readonly directory: string
  private readonly keepCheckpoints: boolean

  /** @param directory Folder of the study. */
  constructor(directory: string, keepCheckpoints: boolean) {
    this.directory = directory
    this.keepCheckpoints = keepCheckpoints
  }

  /** The directory in which to start or continue a cell. If it cannot be read, the job of the cell reports that. */
  toRun(cell: Cell): Promise<string> {
    const path = this.pathOf(cell)
    return runFolder(path).catch(() => path)
  }

  /** The checkpoint from which a branch can start: the next shorter branch left it at the start of its decay. */
  async trunkOf(cell: Cell): Promise<Trunk | undefined> {
    const after = cell.branch?.after
    return after ? { directory: await this.current(after), step: firstStepOf(cell) } : undefined
  }

  /** Deletes the checkpoints of finished trainings of a search that no rung continues. */
  async dropCheckpoints(cells: readonly Cell[]): Promise<void> {
    if (this.keepCheckpoints) return
    for (const cell of cells) await removeCheckpoints(await this.current(cell))
  }

  /** Marks the checkpoints of a trained cell before its result is kept: see {@link leftoversOf}. */
  async markLeftovers(cell: Cell, directory: string): Promise<void> {
    const fate = isContinued(cell) ? 'continued' : 'removable'
    await markCheckpoints(directory, this.keepCheckpoints ? 'kept' : fate)
  }

  /**
   * The directory of a finished cell if it still has checkpoints that were to be removed, because the study was killed
   * after it kept the result; else null.
   */
  async leftoversOf(cell: Cell): Promise<string | null> {
    const directory = await this.current(cell)
    return areRemovable(directory) ? directory : null
  }

  /**
   * Deletes the files that a finished cell no longer needs: directories of earlier attempts, its checkpoints, and the
   * checkpoints of the shorter branch that it continued. A checkpoint that a rung or a branch will continue stays.
   * @param directory Directory in which the cell was trained.
   * @param longer The branch that will continue the cell, if any.
   */
  async removeLeftovers(cell: Cell, directory: string, longer: Cell | undefined): Promise<void> {
    await removeEarlier(this.pathOf(cell), directory)
    if (this.keepCheckpoints) return
    const after = cell.branch?.after
    if (after) await removeCheckpoints(await this.current(after))
    if (isContinued(cell)) return
    await removeCheckpoints(directory, longer && firstStepOf(longer))
  }

  private pathOf(cell: Cell): string {
    return join(this.directory, folders[cell.rate], folderOfRun(cell))
  }

  private current(cell: Cell): Promise<string> {
    return currentFolder(this.pathOf(cell))
  }
}

/** Whether the next rung of a search may continue a cell. */
const isContinued = (cell: Cell): boolean => stepsOf(cell) < cell.config.train.steps && cell.rate !== 'trial'
