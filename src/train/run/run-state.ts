/**
 * State that a run needs to continue bit for bit: parameters, optimizer state, and a few numbers.
 * Everything else follows from the configuration and the step.
 */
import { z } from 'zod'
import type { Fields } from '../../core/config/fields.ts'
import type { RunConfig } from '../../core/config/run-config.ts'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import type { Dataset } from '../data/dataset.ts'
import { ownedTensors, parameterTensors } from '../step/store/named-tensors.ts'
import type { ParameterStore } from '../step/store/store.ts'
import type { Trainer } from '../step/trainer.ts'
import type { CheckpointTensors } from './checkpoint/description.ts'
import { expectSettings, fixedSettings } from './resume-settings.ts'

/** State in a checkpoint besides tensors. */
export interface State {
  /** The {@link Dataset.hash} of the text: a run cannot continue on other text. */
  readonly data: string
  readonly updates: number
  readonly nonFiniteInRow: number
  /** Hash of the routes that are replayed (`data.replay`); missing if routers choose. */
  readonly routes?: string | undefined
  /** SHA-256 of tokenizer.json, without which ids have no meaning. Missing in checkpoints of earlier versions. */
  readonly tokenizer?: string | undefined
  /** True if the run was stopped before the evaluation of its step. */
  readonly evaluationDue?: boolean | undefined
  /** The settings that the run has to keep ({@link expectSettings}). Missing in checkpoints of earlier versions, and of imported models. */
  readonly settings?: Fields | undefined
}

const count = z.int().nonnegative()
const stateSchema = z.object({
  data: z.string(),
  updates: count,
  nonFiniteInRow: count,
  routes: z.string().optional(),
  tokenizer: z.string().optional(),
  evaluationDue: z.boolean().optional(),
  settings: z.record(z.string(), z.unknown()).optional(),
})

/**
 * The state in a checkpoint.
 * @param path Names the checkpoint in messages.
 * @throws RunError if it is not the state of a training
 */
export function parseState(state: unknown, path: string): State {
  const parsed = stateSchema.safeParse(state)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const field = ['state', ...(issue?.path ?? [])].join('.')
  throw new RunError(`checkpoint ${path} is damaged: its state.json has no valid ${field} (use another checkpoint)`)
}

/**
 * @param json The tokenizer.json beside the checkpoint.
 * @throws RunError if the model was trained with another tokenizer
 */
export async function expectTokenizer({ tokenizer }: State, json: string, directory: string): Promise<void> {
  if (tokenizer !== undefined && tokenizer !== (await sha256(json))) throw changedTokenizer(directory)
}

const changedTokenizer = (where: string): RunError =>
  new RunError(
    `tokenizer.json of ${where} was changed after its checkpoint was written, so tokens have other meanings than in ` +
      'training (restore it from a copy)',
  )

const otherRoutes = (path: string, hasRoutes: boolean): UsageError =>
  new UsageError(
    hasRoutes
      ? wording`data.replay: ${path} was trained with other routes (resume with the record of the run, wherever it is now: ${option('data.replay', 'PATH')})`
      : wording`data.replay: ${path} was trained without a record (resume without one, or begin a new run with these weights: ${option('from')})`,
  )

/** Value of {@link State.data} for a model that was imported, whose text is not known. */
export const importedData = 'imported'

/** The text of a training. */
export interface TrainedText {
  /** {@link Dataset.hash} */
  readonly hash: string
  /** SHA-256 of tokenizer.json. */
  readonly tokenizer: string
  /** Hash of the routes that are replayed; undefined if routers choose. */
  readonly routes?: string | undefined
}

export class RunState {
  /** Consecutive steps that were skipped because the loss or gradient was not finite. */
  nonFiniteInRow = 0
  /** Whether the evaluation of the last step is still to be made, since the training was asked to stop. */
  evaluationDue = false
  private readonly config: RunConfig
  private readonly text: TrainedText
  private readonly store: ParameterStore
  private readonly trainer: Trainer

  constructor(config: RunConfig, text: TrainedText, store: ParameterStore, trainer: Trainer) {
    this.config = config
    this.text = text
    this.store = store
    this.trainer = trainer
  }

  /** The tensors of this rank. */
  tensors(): CheckpointTensors {
    return { model: parameterTensors(this.store), optimizer: this.trainer.optimizer.stateTensors() }
  }

  /** The {@link tensors} that this rank writes. */
  owned(): CheckpointTensors {
    return { model: ownedTensors(this.store), optimizer: this.trainer.optimizer.stateTensors() }
  }

  describe(): State {
    const { trainer, nonFiniteInRow, text } = this
    const { hash, tokenizer, routes } = text
    const due = this.evaluationDue && { evaluationDue: true }
    return {
      data: hash,
      updates: trainer.updates,
      nonFiniteInRow,
      ...(routes !== undefined && { routes }),
      tokenizer,
      ...due,
      settings: fixedSettings(this.config),
    }
  }

  /**
   * Takes over everything but the tensors.
   * @param path Path of the checkpoint, for messages.
   * @throws UsageError if the run was trained on another text, or with other routes; RunError if with another tokenizer
   * or other settings
   */
  adopt(state: State, path: string): void {
    const { data, updates, nonFiniteInRow, routes, tokenizer, evaluationDue = false, settings } = state
    if (data === importedData)
      throw new UsageError(
        wording`cannot resume from ${path}: this model was imported, without the state of a training (train it with ${option('from')})`,
      )
    // These checks precede the check of the text, whose hash covers the tokenizer and the settings of the data.
    const directory = path.replace(/[\\/]checkpoints[\\/][^\\/]+$/, '')
    expectSettings(settings, this.config, directory)
    if (tokenizer !== undefined && tokenizer !== this.text.tokenizer) throw changedTokenizer(directory)
    if (data !== this.text.hash)
      throw new UsageError(
        wording`data.source: the text has changed since ${path} was written, or is another one (resume with the text that the ${wording`run was trained on, wherever it is now: ${option('data.source', 'PATH')}; the names of its files count too. `}To train on another text, begin a new run with these weights: choir train --from RUN --data TEXT)`,
      )
    if (routes !== this.text.routes) throw otherRoutes(path, routes !== undefined)
    this.take({ updates, nonFiniteInRow })
    this.evaluationDue = evaluationDue
  }

  /**
   * Takes over everything but the tensors from a checkpoint of another run, from which this run forks.
   * @throws UsageError if the checkpoint was trained on another text
   */
  adoptFork({ data, ...rest }: State, path: string): void {
    if (data === importedData)
      throw new UsageError(
        wording`invalid ${option('fork')}: ${path} was imported, without the state of a training (train it with ${option('from')})`,
      )
    if (data !== this.text.hash)
      throw new UsageError(
        wording`invalid data.source: it is not the text that ${path} was trained on, so a fork would lose its place in it (leave it out, ${wording`or give the same text where it is now; to train on another text, begin a new training with these weights: ${option('from')}`})`,
      )
    this.take(rest)
  }

  private take({ updates, nonFiniteInRow }: Pick<State, 'updates' | 'nonFiniteInRow'>): void {
    this.trainer.updates = updates
    this.nonFiniteInRow = nonFiniteInRow
  }
}
