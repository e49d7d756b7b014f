/** Saves the state of a run in its directory and restores it. */
import { basename } from 'node:path'
import { RunError, UsageError } from '../../core/errors.ts'
import { gatherJson, type Ranks } from '../../engine/contract/ranks.ts'
import { fromFirst, together } from '../../train/run/agreement.ts'
import { parseState, type RunState, type State } from '../../train/run/run-state.ts'
import type { NamedTensor } from '../../train/step/store/named-tensors.ts'
import {
  type Checkpoint,
  checkpointOf,
  newestCheckpoint,
  readCheckpoint,
  writeCheckpoint,
} from './checkpoint/checkpoint.ts'
import { setAsideLater } from './checkpoint/folder.ts'
import { beginAgain, checkpointsOf, type RunDirectory } from './run-directory.ts'

export class SavedState {
  private readonly directory: string
  private readonly files: RunDirectory | null
  private readonly state: RunState
  private readonly ranks: Ranks | null
  private readonly signal: AbortSignal | undefined

  /**
   * @param directory Directory of the run.
   * @param files Files of the run; null on all ranks but the first.
   * @param signal Signal that ends the reading of a checkpoint; its reason is thrown.
   */
  constructor(
    directory: string,
    files: RunDirectory | null,
    state: RunState,
    ranks: Ranks | null,
    signal?: AbortSignal,
  ) {
    this.directory = directory
    this.files = files
    this.state = state
    this.ranks = ranks
    this.signal = signal
  }

  /**
   * Restores a checkpoint and returns its step and path, or null if the run has none yet.
   * @param wanted Step of the checkpoint; checkpoints of later steps are then set aside. Default: the newest that is
   *   intact.
   * @throws RunError if no checkpoint is intact, or all are gone: starting over would overwrite the run
   * @throws UsageError if the text is not the text of the run, or there is no checkpoint of this step
   */
  async restore(
    wanted: number | undefined,
    warn: (message: string) => void,
  ): Promise<{ step: number; path: string } | null> {
    const found = await fromFirst(this.ranks, () =>
      wanted === undefined ? this.newest(warn) : checkpointOf(this.checkpoints, wanted, { signal: this.signal }),
    )
    if (!found) {
      if (wanted === undefined) return null
      throw new UsageError(`invalid checkpoint: ${wanted} (${this.directory} has no checkpoints)`)
    }
    this.state.adopt(parseState(found.state, found.path), found.path)
    await this.readTensors(found.path)
    if (wanted === undefined) return found
    const aside = await fromFirst(this.ranks, () => setAsideLater(this.checkpoints, found.step))
    if (aside.length > 0)
      warn(`later checkpoints are set aside in ${this.checkpoints}: ${aside.join(', ')} (remove what you do not need)`)
    return found
  }

  /** Reads the parameters of a checkpoint of another run; everything else stays as in a new run. */
  async readWeights(path: string): Promise<void> {
    const { model } = this.state.tensors()
    const elsewhere = await this.allNames(model)
    await together(this.ranks, () => readCheckpoint(path, { model }, { elsewhere, signal: this.signal }))
  }

  /**
   * Takes over the state of a checkpoint of another run.
   * @throws UsageError if the text is not the text of the run
   */
  async readFork(path: string, state: State): Promise<void> {
    this.state.adoptFork(state, path)
    await this.readTensors(path)
  }

  private async readTensors(path: string): Promise<void> {
    const tensors = this.state.tensors()
    const elsewhere = await this.allNames([...tensors.model, ...tensors.optimizer])
    await together(this.ranks, () => readCheckpoint(path, tensors, { elsewhere, signal: this.signal }))
  }

  private async newest(warn: (message: string) => void): Promise<Checkpoint | null> {
    let damaged = 0
    const skip = (path: string, reason: string) => {
      warn(`skipping checkpoint ${path}: ${reason}`)
      if (basename(path).startsWith('step-')) damaged++
    }
    const found = await newestCheckpoint(this.checkpoints, skip, { signal: this.signal })
    if (!found && damaged > 0)
      throw new RunError(
        `no checkpoint of ${this.directory} is intact (restore one from a copy, or ${beginAgain(this.directory)})`,
      )
    if (!found) await this.files?.refuseLostCheckpoints()
    return found
  }

  /** Names of the tensors of all ranks. */
  private async allNames(own: readonly NamedTensor[]): Promise<ReadonlySet<string>> {
    if (!this.ranks) return new Set()
    const names = own.map(({ name }) => name)
    return new Set((await gatherJson(this.ranks, names)).flat())
  }

  /**
   * Writes a checkpoint and returns its path. Afterwards the newest `keep` checkpoints, this one included, and the
   * checkpoint of the step `spared` are left.
   */
  async save(step: number, keep: number, spared: number | null): Promise<string> {
    // Records of earlier steps must be on disk before the checkpoint: a resumed run keeps those lines.
    await this.files?.logs.flush()
    const { state, ranks } = this
    return writeCheckpoint(this.checkpoints, step, state.owned(), state.describe(), { keep, spared, ranks })
  }

  private get checkpoints(): string {
    return checkpointsOf(this.directory)
  }
}
