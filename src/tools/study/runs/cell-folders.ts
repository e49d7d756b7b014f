/**
 * The run directories of the cells of a study: where each directory is, which checkpoint a branch starts from, and when
 * checkpoints are removed.
 */
import { join } from 'node:path'
import { folderOfRun, studyFolders } from '../../../node/run/study-arm.ts'
import type { Cell } from '../contract.ts'
import { firstStepOf, stepsOf } from '../grid/cells.ts'
import {
  areRemovable,
  currentFolder,
  markCheckpoints,
  removeCheckpoints,
  removeEarlier,
  runFolder,
  type Trunk,
} from './run-folder.ts'

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
