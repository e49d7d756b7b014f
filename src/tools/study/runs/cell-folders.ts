/**
 * The run directories of the cells of a study: where each is, the checkpoint that a branch starts from, and which
 * checkpoints are removed when.
 */
import { join } from 'node:path'
import { folderOfRun, studyFolders } from '../../../node/run/study-arm.ts'
import type { Cell } from '../contract.ts'
import { firstStepOf, stepsOf } from '../grid/cells.ts'
import { currentFolder, removeCheckpoints, removeEarlier, runFolder, type Trunk } from './run-folder.ts'

const folders: Readonly<Record<Cell['rate'], string>> = {
  common: studyFolders.runs,
  best: studyFolders.runs,
  trial: studyFolders.trials,
  confirm: studyFolders.confirming,
}

export class CellFolders {
  private readonly directory: string
  private readonly keepCheckpoints: boolean

  /** @param directory Of the study. */
  constructor(directory: string, keepCheckpoints: boolean) {
    this.directory = directory
    this.keepCheckpoints = keepCheckpoints
  }

  /** The directory in which to start or continue a cell. One that cannot be read is reported by its job. */
  toRun(cell: Cell): Promise<string> {
    const path = this.pathOf(cell)
    return runFolder(path).catch(() => path)
  }

  /** The checkpoint from which a branch can start: that of the shorter one, at the start of its decay. */
  async trunkOf(cell: Cell): Promise<Trunk | undefined> {
    const after = cell.branch?.after
    return after ? { directory: await this.current(after), step: firstStepOf(cell) } : undefined
  }

  /** Deletes the checkpoints of finished trainings of a search that no rung continues. */
  async dropCheckpoints(cells: readonly Cell[]): Promise<void> {
    if (this.keepCheckpoints) return
    for (const cell of cells) await removeCheckpoints(await this.current(cell))
  }

  /**
   * Deletes what a finished cell needs no more: directories of earlier attempts and checkpoints, also those of the shorter
   * branch that it continued. A checkpoint from which a rung or a branch is still to continue stays.
   * @param directory In which the cell was trained.
   * @param longer The branch that is to continue it, if any.
   */
  async removeLeftovers(cell: Cell, directory: string, longer: Cell | undefined): Promise<void> {
    await removeEarlier(this.pathOf(cell), directory)
    if (this.keepCheckpoints) return
    const after = cell.branch?.after
    if (after) await removeCheckpoints(await this.current(after))
    // The next rung may continue it.
    if (stepsOf(cell) < cell.config.train.steps && cell.rate !== 'trial') return
    await removeCheckpoints(directory, longer && firstStepOf(longer))
  }

  private pathOf(cell: Cell): string {
    return join(this.directory, folders[cell.rate], folderOfRun(cell))
  }

  private current(cell: Cell): Promise<string> {
    return currentFolder(this.pathOf(cell))
  }
}
