/**
 * What a run must remember to continue bit for bit: parameters, optimizer state, and a few numbers.
 * All else follows from the configuration and the step.
 */
import { basename } from 'node:path'
import type { Dataset } from '../data/dataset.ts'
import { RunError, UsageError } from '../errors.ts'
import type { ParameterStore } from '../step/store.ts'
import type { Trainer } from '../step/trainer.ts'
import { newestCheckpoint, readCheckpoint, writeCheckpoint } from './checkpoint/checkpoint.ts'
import type { RunDirectory } from './run-directory.ts'

/** What a checkpoint keeps besides tensors. */
export interface State {
  /** What the text, its split and its tokens were ({@link Dataset.hash}): other text is another run. */
  readonly data: string
  readonly updates: number
  readonly nonFiniteInRow: number
}

export class SavedState {
  /** Steps in a row that were skipped because something was not finite. */
  nonFiniteInRow = 0
  private readonly files: RunDirectory
  private readonly data: Dataset
  private readonly store: ParameterStore
  private readonly trainer: Trainer

  constructor(files: RunDirectory, data: Dataset, store: ParameterStore, trainer: Trainer) {
    this.files = files
    this.data = data
    this.store = store
    this.trainer = trainer
  }

  /**
   * Puts back the newest checkpoint that verifies; gives its step, or null when there is none.
   * @throws RunError when there are checkpoints but none is whole, so that nothing written is lost
   * @throws UsageError when the text is not what the run was trained on
   */
  async restore(warn: (message: string) => void): Promise<{ step: number; path: string } | null> {
    let damaged = 0
    const found = await newestCheckpoint(this.files.checkpoints, (path, reason) => {
      warn(`skipping checkpoint ${path}: ${reason}`)
      if (basename(path).startsWith('step-')) damaged++
    })
    if (!found && damaged > 0)
      throw new RunError(
        `no checkpoint of ${this.files.path} is whole (put one back from a copy, or remove its checkpoints folder to ` +
          'begin the run again)',
      )
    if (!found) return null
    const { data, updates, nonFiniteInRow } = found.state as State
    if (data !== this.data.hash)
      throw new UsageError(
        `data.source: the text has changed since ${found.path} was written (put back what the run was trained on, ` +
          'or start a new run)',
      )
    await readCheckpoint(found.path, this.tensors())
    this.trainer.updates = updates
    this.nonFiniteInRow = nonFiniteInRow
    return found
  }

  /** Writes a checkpoint; gives its path. */
  async save(step: number, keep: number): Promise<string> {
    // What the steps up to here wrote must be on disk before it: a resumed run keeps those lines.
    await this.files.flush()
    const state: State = {
      data: this.data.hash,
      updates: this.trainer.updates,
      nonFiniteInRow: this.nonFiniteInRow,
    }
    return writeCheckpoint(this.files.checkpoints, step, this.tensors(), state, { keep })
  }

  private tensors() {
    return { model: this.store.parameterTensors(), optimizer: this.trainer.optimizer.stateTensors() }
  }
}
