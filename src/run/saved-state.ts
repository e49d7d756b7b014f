/** Saves the state of a run in its directory and restores it. */
import { basename } from 'node:path'
import { RunError } from '../errors.ts'
import { gatherJson, type Ranks } from '../runtime/ranks.ts'
import type { NamedTensor } from '../step/named-tensors.ts'
import { fromFirst, together } from './agreement.ts'
import { type Checkpoint, newestCheckpoint, readCheckpoint, writeCheckpoint } from './checkpoint/checkpoint.ts'
import { checkpointsOf, type RunDirectory } from './run-directory.ts'
import { parseState, type RunState, type State } from './run-state.ts'

export class SavedState {
  private readonly directory: string
  private readonly files: RunDirectory | null
  private readonly state: RunState
  private readonly ranks: Ranks | null

  /**
   * @param directory Of the run.
   * @param files Null on all ranks but the first.
   */
  constructor(directory: string, files: RunDirectory | null, state: RunState, ranks: Ranks | null) {
    this.directory = directory
    this.files = files
    this.state = state
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
    this.state.adopt(parseState(found.state, found.path), found.path)
    await this.readTensors(found.path)
    return found
  }

  /** Reads the parameters of a checkpoint of another run; everything else stays as in a new run. */
  async readWeights(path: string): Promise<void> {
    const { model } = this.state.tensors()
    const elsewhere = await this.allNames(model)
    await together(this.ranks, () => readCheckpoint(path, { model }, elsewhere))
  }

  /**
   * Takes over the state of a checkpoint of another run.
   * @throws UsageError if the text is not that of the run
   */
  async readFork(path: string, state: State): Promise<void> {
    this.state.adoptFork(state, path)
    await this.readTensors(path)
  }

  private async readTensors(path: string): Promise<void> {
    const tensors = this.state.tensors()
    const elsewhere = await this.allNames([...tensors.model, ...tensors.optimizer])
    await together(this.ranks, () => readCheckpoint(path, tensors, elsewhere))
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
  private async allNames(own: readonly NamedTensor[]): Promise<ReadonlySet<string>> {
    if (!this.ranks) return new Set()
    const names = own.map(({ name }) => name)
    return new Set((await gatherJson(this.ranks, names)).flat())
  }

  /**
   * Writes a checkpoint and returns its path. Of the earlier ones stay the newest, `keep` in all, and that of the step
   * `spared`.
   */
  async save(step: number, keep: number, spared: number | null): Promise<string> {
    // Records of earlier steps must be on disk before the checkpoint: a resumed run keeps those lines.
    await this.files?.flush()
    const { state, ranks } = this
    return writeCheckpoint(this.checkpoints, step, state.owned(), state.describe(), { keep, spared, ranks })
  }

  private get checkpoints(): string {
    return checkpointsOf(this.directory)
  }
}
