/** Opens everything that a training in memory needs: text, parameters, compiled programs, records. */
import { z } from 'zod'
import { isFields } from '../../core/config/fields.ts'
import { abortSignal, callback, checkOptions, object } from '../../core/config/options.ts'
import { fieldsOf } from '../../core/config/preset-fields.ts'
import { parseInput } from '../../core/config/problems.ts'
import { type RunConfig, type RunInput, runSchema } from '../../core/config/run-config.ts'
import { storedFields } from '../../core/config/stored-fields.ts'
import { UsageError } from '../../core/errors.ts'
import { version } from '../../core/version.ts'
import type { Runtime } from '../../engine/contract/runtime.ts'
import {
  type MemoryFile,
  memoryDataset,
  type TokenizedText,
  tokenizedDataset,
} from '../../train/data/memory-dataset.ts'
import { corpusNames } from '../../train/data/sources/corpus.ts'
import { byteLevelTokenizer } from '../../train/data/tokenizer/tokenizer.ts'
import { compileTraining, type TrainingProgram } from '../../train/loop/program.ts'
import { Ceiling } from '../../train/measure/mfu.ts'
import { measurePeakFlops } from '../../train/measure/peak.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { trainingNotices } from '../../train/run/notices.ts'
import { parseState } from '../../train/run/run-state.ts'
import { initialize, initialScales } from '../../train/step/store/initialize.ts'
import { createStore } from '../../train/step/trainer.ts'
import { newestCheckpointFiles, readCheckpointFiles } from './checkpoint-files.ts'
import { MemoryLog } from './memory-log.ts'
import { type PageText, placeText, runText } from './page-text.ts'
import { expectPreparedFor, isPrepared, type PreparedText, prepareText } from './prepared-text.ts'
import { bytesOf, type RunFiles, textOf, unzipRun } from './run-files.ts'

/** Options of every way to open a training. */
export interface TrainingOptions {
  /** The runtime that computes. The caller closes it, after the training. */
  readonly runtime: Runtime
  /** Receives the progress of the preparation, notices and warnings. */
  readonly onMessage?: OnMessage
  /** Ends the preparation, which may take seconds. */
  readonly signal?: AbortSignal
}

export interface OpenOptions extends TrainingOptions {
  /** Fields as in config.json. `data.source` follows from the text; Node uses `runtime` when it continues the run. */
  readonly config: RunInput
  /** The text, or the text as `WebTraining.prepare` has prepared it. */
  readonly text: PageText | PreparedText
}

/** Options of preparing a text for trainings. */
export interface PrepareOptions extends Omit<TrainingOptions, 'runtime'> {
  /** The configuration of one of the trainings. They have the same `data` and the same `model.vocabulary`. */
  readonly config: RunInput
  readonly text: PageText
}

export interface RestoreOptions extends TrainingOptions {
  /** Text for a run that does not hold it, such as a run on a corpus: exactly the text that the run was trained on. */
  readonly text?: PageText
}

/** Parts of an open training. */
export interface Parts extends TrainingProgram {
  readonly ceiling: Ceiling
  readonly log: MemoryLog
  /** Files of the run directory: configuration, tokenizer and text. */
  readonly files: RunFiles
  /** Steps done. */
  readonly step: number
  readonly onMessage: OnMessage
}

/** Inputs of a training that begins or continues. */
interface Beginning {
  readonly config: RunConfig
  readonly text: readonly MemoryFile[] | TokenizedText
  /** config.json, and the text if the run holds it. */
  readonly files: RunFiles
  /** Files of the run to continue; null for a new run. */
  readonly run: RunFiles | null
}

/** Checks names of options, and those that both ways to a training take. Others are checked where they are read. */
function expectOptions(subject: string, options: TrainingOptions, others: readonly ('config' | 'text')[]): void {
  const unread = Object.fromEntries(others.map((name) => [name, z.unknown().optional()]))
  checkOptions(subject, options, unread, { runtime: object, onMessage: callback, signal: abortSignal })
  if (options.runtime === undefined)
    throw new UsageError('missing runtime (open one with openBrowserRuntime, and close it at the end)')
}

/** @throws UsageError for an option or a setting that is wrong, or text that is unusable or too short */
export async function openNew(given: OpenOptions): Promise<Parts> {
  expectOptions('options of WebTraining.open', given, ['config', 'text'])
  const { config: input, text: shown, ...options } = given
  const prepared = isPrepared(shown) ? shown : null
  const { source, inRun, text } = prepared ? { ...prepared, text: prepared.tokens } : placed(shown as PageText)
  const config = configFor(input, source)
  if (prepared) expectPreparedFor(prepared, config)
  const stored = { version: version(), created: new Date().toISOString(), ...config }
  const configFile = bytesOf(`${JSON.stringify(stored, null, 2)}\n`)
  return begin({ config, text, files: new Map([['config.json', configFile], ...inRun]), run: null }, options)
}

/** Tokenizes a text for trainings. @throws UsageError for a setting that is wrong, or text that is unusable */
export async function prepareNew(given: PrepareOptions): Promise<PreparedText> {
  const anything = z.unknown().optional()
  const live = { onMessage: callback, signal: abortSignal }
  checkOptions('options of WebTraining.prepare', given, { config: anything, text: anything }, live)
  const { config, text, ...options } = given
  return prepareText(text, configFor(config, placeText(text).source), options)
}

function placed(given: PageText) {
  const { files, ...place } = placeText(given)
  return { ...place, text: files }
}

function configFor(input: RunInput, source: string): RunConfig {
  const fields = fieldsOf(input)
  const { data = {} } = fields
  const complete = { ...fields, data: isFields(data) ? { ...data, source } : data }
  return parseInput(runSchema, complete, 'configuration')
}

/** @throws UsageError for an option that is wrong, a file that holds no run, or text that is missing or another one */
export async function openZip(zip: Uint8Array, given: RestoreOptions): Promise<Parts> {
  expectOptions('options of a stored run', given, ['text'])
  const { text, ...options } = given
  const run = unzipRun(zip)
  const stored = storedFields(textOf(run.get('config.json') as Uint8Array), 'config.json', version())
  const config = parseInput(runSchema, stored, 'configuration')
  const { source } = config.data
  const inRun = runText(run, source)
  const files = inRun?.files ?? (text && textFor(source, text))
  if (!files) throw new UsageError(`data.source: the run does not hold its text, ${source} (give it as \`text\`)`)
  const kept = [...run].filter(([path]) => path === 'config.json' || inRun?.inRun.has(path))
  return begin({ config, text: files, files: new Map(kept), run }, options)
}

/** The files of a text that is given for a run; undefined if it is a corpus and the run was trained on another text. */
function textFor(source: RunConfig['data']['source'], text: PageText): readonly MemoryFile[] | undefined {
  const given = placeText(text)
  return corpusNames.includes(given.source) && given.source !== source ? undefined : given.files
}

async function begin(
  { config, text, files, run }: Beginning,
  { runtime, onMessage = () => {}, signal }: TrainingOptions,
): Promise<Parts> {
  const { model, train, data: dataConfig } = config
  if (dataConfig.replay !== null)
    throw new UsageError('invalid data.replay: a page reads no records of routes (expected null; train with Node)')
  const onProgress = (message: string) => onMessage({ kind: 'prepare', message })
  const onNotice = (message: string) => onMessage({ kind: 'notice', message })
  const warn = (message: string) => onMessage({ kind: 'warning', message })
  const savedTokenizer = run?.get('tokenizer.json')
  const data =
    'tokenizer' in text
      ? tokenizedDataset(text, model.sequence)
      : await memoryDataset(text, dataConfig, {
          vocabulary: model.vocabulary,
          sequence: model.sequence,
          onProgress,
          onNotice,
          ...(savedTokenizer && { tokenizer: byteLevelTokenizer(textOf(savedTokenizer)) }),
          ...(signal && { signal }),
        })
  for (const message of trainingNotices(runtime, config)) onNotice(message)
  const ceiling = new Ceiling(() => measurePeakFlops(runtime))
  await ceiling.measure()
  signal?.throwIfAborted()
  onProgress('compiling the model')
  const store = createStore(runtime, config)
  const program = await compileTraining({ runtime, config, data, store, ranks: null })
  const { trainer, state } = program
  try {
    const found = run && (await newestCheckpointFiles(run, warn))
    onProgress(found ? `continuing from step ${found.step}` : 'initial parameters')
    if (found) {
      state.adopt(parseState(found.state, found.path), found.path)
      await readCheckpointFiles(run, found.path, state.tensors())
    } else await initialize(store, train.seed, initialScales(config))
    signal?.throwIfAborted()
    const step = found?.step ?? 0
    const log = new MemoryLog(run ?? undefined, step)
    const allFiles = new Map([...files, ['tokenizer.json', bytesOf(data.tokenizer.json)] as const])
    return { ...program, ceiling, log, files: allFiles, step, onMessage }
  } catch (error) {
    await trainer.release()
    throw error
  }
}
