/**
 * Where a model comes from: a run of Choir, or files of another library, which are read as they are: a folder in Hugging
 * Face's layout, or a GGUF file.
 */
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { RunConfig } from '../../core/config/run-config.ts'
import { option, UsageError, wording } from '../../core/errors.ts'
import { sha256 } from '../../core/sha256.ts'
import { tokenizerFromJson } from '../../node/data/tokenizer/native-tokenizer.ts'
import { readCheckpointOf, readNewestCheckpoint } from '../../node/run/checkpoint/checkpoint.ts'
import { loadRunConfig } from '../../node/run/load-config.ts'
import { checkpointsOf } from '../../node/run/run-directory.ts'
import { readTextRules, readTokenizer } from '../../node/run/tokenizer-file.ts'
import type { Tokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { expectSettings } from '../../train/run/resume-settings.ts'
import { expectTokenizer, importedData, parseState } from '../../train/run/run-state.ts'
import type { NamedTensor } from '../../train/step/store/named-tensors.ts'
import { foreignConfigIn } from '../foreign/foreign-folder.ts'
import {
  type ForeignModel,
  foreignRunConfig,
  openForeignTokenizer,
  openForeignWeights,
  readForeignModel,
  sequenceOf,
} from '../foreign/foreign-model.ts'
import { isGgufFile, readGgufModel } from '../foreign/gguf/gguf-model.ts'
import { ggufPaths } from '../foreign/gguf/parts.ts'
import { stateOfFiles } from '../foreign/model-files.ts'
import type { ModelFiles } from './rounded-weights.ts'

/** Settings that replace the runtime settings of the run. */
export type RuntimeSettings = Partial<RunConfig['runtime']>

export interface LoadedParts {
  readonly tokenizer: Tokenizer
  /** Number of steps that the model has been trained; 0 for a model of another library. */
  readonly step: number
  /** The `Dataset.hash` of its training data. */
  readonly trainedOn: string
}

export interface StoredModel {
  readonly config: RunConfig
  /** Its files; null for a run. */
  readonly files: ModelFiles | null
  /**
   * Writes the parameters of the model into tensors, in their order.
   * @param signal When it is aborted, its reason is thrown before the next tensor of a model of another library.
   * @throws RunError if a file is damaged
   */
  load(tensors: readonly NamedTensor[], signal?: AbortSignal): Promise<LoadedParts>
}

/**
 * Finds the model in a directory, or in a GGUF file. Parameters are not read yet.
 * @param checkpoint Step of the checkpoint of a run; default: the newest intact one.
 * @throws UsageError if there is no model; RunError if its files are damaged
 */
export async function findModel(
  directory: string,
  runtime: RuntimeSettings,
  checkpoint: number | undefined,
  onMessage: OnMessage,
): Promise<StoredModel> {
  const foreign = await foreignIn(directory)
  if (!foreign) return modelOfRun(directory, runtime, checkpoint, onMessage)
  if (checkpoint !== undefined)
    throw new UsageError(
      wording`invalid ${option('checkpoint')}: ${checkpoint} ("${directory}" is a model of another library, which has no checkpoints)`,
    )
  return foreign(runtime, onMessage)
}

/** Opens the model of another library at a path; null if there is no such model. */
async function foreignIn(
  path: string,
): Promise<((runtime: RuntimeSettings, onMessage: OnMessage) => Promise<StoredModel>) | null> {
  if (await isGgufFile(path))
    return async (runtime, onMessage) => {
      const files = { names: async () => ggufPaths(path), copies: `${path}.choir-`, keysIn: path }
      return modelOf(await readGgufModel(path), path, files, runtime, onMessage)
    }
  const config = await foreignConfigIn(path)
  if (!config) return null
  return async (runtime, onMessage) => {
    const names = async () =>
      (await readdir(path))
        .filter((name) => /\.(json|safetensors)$/.test(name))
        .sort()
        .map((name) => join(path, name))
    const files = { names, copies: join(path, 'choir-'), keysIn: 'config.json' }
    return modelOf(await readForeignModel(path, config), path, files, runtime, onMessage)
  }
}

async function modelOfRun(
  directory: string,
  runtime: RuntimeSettings,
  checkpoint: number | undefined,
  onMessage: OnMessage,
): Promise<StoredModel> {
  const sets = Object.entries(runtime).map(([name, value]) => `runtime.${name}=${value}`)
  const config = await loadRunConfig(directory, sets)
  const warn = (path: string, reason: string) =>
    onMessage({ kind: 'warning', message: `skipping checkpoint ${path}: ${reason}` })
  const load = async (model: readonly NamedTensor[]): Promise<LoadedParts> => {
    const checkpoints = checkpointsOf(directory)
    const found =
      checkpoint === undefined
        ? await readNewestCheckpoint(checkpoints, { model }, warn)
        : await readCheckpointOf(checkpoints, checkpoint, { model })
    if (!found)
      throw new UsageError(
        `invalid run: "${directory}" has no checkpoint (train it, or wait for its first checkpoint; a study keeps those of its runs with --keep-checkpoints only)`,
      )
    const state = parseState(found.state, found.path)
    const json = await readTokenizer(directory)
    await expectTokenizer(state, json, directory)
    expectSettings(state.settings, sets.length === 0 ? config : await loadRunConfig(directory), directory)
    const tokenizer = tokenizerFromJson(json, join(directory, 'tokenizer.json'), await readTextRules(directory))
    return { tokenizer, step: found.step, trainedOn: state.data }
  }
  return { config, files: null, load }
}

interface ForeignFiles {
  /** Returns the paths of all files of the model. */
  names(): Promise<readonly string[]>
  /** See {@link ModelFiles}. */
  readonly copies: string
  /** Where unknown keys are, for messages. */
  readonly keysIn: string
}

async function modelOf(
  foreign: ForeignModel,
  path: string,
  { names, copies, keysIn }: ForeignFiles,
  runtime: RuntimeSettings,
  onMessage: OnMessage,
): Promise<StoredModel> {
  for (const key of foreign.ignoredKeys)
    onMessage({
      kind: 'warning',
      message: `${keysIn} has ${key}, which Choir does not know: check that it does not change the model`,
    })
  for (const message of foreign.notices) onMessage({ kind: 'notice', message })
  const model = { ...foreign.model, sequence: sequenceOf(foreign.model.sequence, undefined) }
  const tokenizer = openForeignTokenizer(path, foreign, model.vocabulary)
  const config = foreignRunConfig({ ...foreign.run, model, runtime })
  const load = async (tensors: readonly NamedTensor[], signal?: AbortSignal): Promise<LoadedParts> => {
    const weights = await openForeignWeights(path, foreign)
    try {
      for (const { name, shape, range } of tensors) {
        signal?.throwIfAborted()
        await range.arena.write(range.start, await weights.read({ name, shape }))
      }
    } finally {
      await weights.close()
    }
    return { tokenizer, step: 0, trainedOn: importedData }
  }
  const files: ModelFiles = {
    copies,
    state: async () => sha256(JSON.stringify([model, await stateOfFiles(await names(), foreign.open)])),
  }
  return { config, files, load }
}
