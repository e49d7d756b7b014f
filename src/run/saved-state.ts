/**
 * State that a run needs to continue bit for bit: parameters, optimizer state, and a few numbers.
 * Everything else follows from the configuration and the step.
 */
import { basename } from 'node:path'
import type { Dataset } from '../data/dataset.ts'
import { RunError, UsageError } from '../errors.ts'
import type { ParameterStore } from '../step/store.ts'
import type { Trainer } from '../step/trainer.ts'
import { newestCheckpoint, readCheckpoint, writeCheckpoint } from './checkpoint/checkpoint.ts'
import type { RunDirectory } from './run-directory.ts'

/** State in a checkpoint besides tensors. */
export interface State {
  /** {@link Dataset.hash}: a run cannot continue on other text. */
  readonly data: string
  readonly updates: number
  readonly nonFiniteInRow: number
}

export class SavedState {
  /** Consecutive steps that were skipped because the loss or gradient was not finite. */
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
   * Restores the newest intact checkpoint and returns its step and path, or null if there is no checkpoint.
   * @throws RunError if there are checkpoints but none is intact: starting over would overwrite the run
   * @throws UsageError if the text is not that of the run
   */
  async restore(warn: (message: string) => void): Promise<{ step: number; path: string } | null> {
    let damaged = 0
    const found = await newestCheckpoint(this.files.checkpoints, (path, reason) => {
      warn(`skipping checkpoint ${path}: ${reason}`)
      if (basename(path).startsWith('step-')) damaged++
    })
    if (!found && damaged > 0)
      throw new RunError(
        `no checkpoint of ${this.files.path} is intact (restore one from a copy, or remove its checkpoints folder to ` +
          'start the run again)',
      )
    if (!found) return null
    const { data, updates, nonFiniteInRow } = found.state as State
    if (data !== this.data.hash)
      throw new UsageError(
        `data.source: the text has changed since ${found.path} was written (restore the text that the run was trained on, ` +
          'or start a new run)',
      )
    await readCheckpoint(found.path, this.tensors())
    this.trainer.updates = updates
    this.nonFiniteInRow = nonFiniteInRow
    return found
  }

  /** Writes a checkpoint and returns its path. */
  async save(step: number, keep: number): Promise<string> {
    // Records of earlier steps must be on disk before the checkpoint: a resumed run keeps those lines.
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
