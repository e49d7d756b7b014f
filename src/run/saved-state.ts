/**
 * State that a run needs to continue bit for bit: parameters, optimizer state, and a few numbers.
 * Everything else follows from the configuration and the step.
 */
import { basename } from 'node:path'
import type { Dataset } from '../data/dataset.ts'
import { RunError, UsageError } from '../errors.ts'
import { gatherJson, type Ranks } from '../runtime/ranks.ts'
import { ownedTensors, parameterTensors } from '../step/named-tensors.ts'
import type { ParameterStore } from '../step/store.ts'
import type { Trainer } from '../step/trainer.ts'
import { fromFirst, together } from './agreement.ts'
import {
  type Checkpoint,
  type CheckpointTensors,
  newestCheckpoint,
  readCheckpoint,
  writeCheckpoint,
} from './checkpoint/checkpoint.ts'
import { checkpointsOf, type RunDirectory } from './run-directory.ts'

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
  private readonly directory: string
  private readonly files: RunDirectory | null
  private readonly data: Dataset
  private readonly store: ParameterStore
  private readonly trainer: Trainer
  private readonly ranks: Ranks | null

  /**
   * @param directory Of the run.
   * @param files Null on all ranks but the first.
   */
  constructor(
    directory: string,
    files: RunDirectory | null,
    data: Dataset,
    store: ParameterStore,
    trainer: Trainer,
    ranks: Ranks | null,
  ) {
    this.directory = directory
    this.files = files
    this.data = data
    this.store = store
    this.trainer = trainer
    this.ranks = ranks
  }

  /**
   * Restores the newest intact checkpoint and returns its step and path, or null if there is no checkpoint.
   * @throws RunError if there are checkpoints but none is intact: starting over would overwrite the run
   * @throws UsageError if the text is not that of the run
   */
  async restore(warn: (message: string) => void): Promise<{ step: number; path: string } | null> {
    const found = await fromFirst(this.ranks, () => this.newest(warn))
    if (!found) return null
    const { data, updates, nonFiniteInRow } = found.state as State
    if (data !== this.data.hash)
      throw new UsageError(
        `data.source: the text has changed since ${found.path} was written (restore the text that the run was trained on, ` +
          'or start a new run)',
      )
    const tensors = { model: parameterTensors(this.store), optimizer: this.trainer.optimizer.stateTensors() }
    const elsewhere = await this.allNames(tensors)
    await together(this.ranks, () => readCheckpoint(found.path, tensors, elsewhere))
    this.trainer.updates = updates
    this.nonFiniteInRow = nonFiniteInRow
    return found
  }

  private async newest(warn: (message: string) => void): Promise<Checkpoint | null> {
    let damaged = 0
    const found = await newestCheckpoint(this.checkpoints, (path, reason) => {
      warn(`skipping checkpoint ${path}: ${reason}`)
      if (basename(path).startsWith('step-')) damaged++
    })
    if (!found && damaged > 0)
      throw new RunError(
        `no checkpoint of ${this.directory} is intact (restore one from a copy, or remove its checkpoints folder to ` +
          'start the run again)',
      )
    return found
  }

  /** Names of the tensors of all ranks. */
  private async allNames(own: CheckpointTensors): Promise<ReadonlySet<string>> {
    if (!this.ranks) return new Set()
    const names = [...own.model, ...own.optimizer].map(({ name }) => name)
    return new Set((await gatherJson(this.ranks, names)).flat())
  }

  /** Writes a checkpoint and returns its path. */
  async save(step: number, keep: number): Promise<string> {
    // Records of earlier steps must be on disk before the checkpoint: a resumed run keeps those lines.
    await this.files?.flush()
    const state: State = {
      data: this.data.hash,
      updates: this.trainer.updates,
      nonFiniteInRow: this.nonFiniteInRow,
    }
    const owned = { model: ownedTensors(this.store), optimizer: this.trainer.optimizer.stateTensors() }
    return writeCheckpoint(this.checkpoints, step, owned, state, { keep, ranks: this.ranks })
  }

  private get checkpoints(): string {
    return checkpointsOf(this.directory)
  }
}
