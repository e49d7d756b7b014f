/**
 * Records the routes of a trained model over a text, as an evaluation reads it: the same windows, in the same batches, in
 * the same order. So loss and drops of a record are those of `choir eval`, and its speed is nearly that of an evaluation.
 *
 * Rows are written while the model computes. Memory is for a batch, and for the names of the documents.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { option, RunError, UsageError, wording } from '../../core/errors.ts'
import type { MoeConfig } from '../../core/model/config/moe-config.ts'
import type { CapacityRule } from '../../core/model/routing/contract.ts'
import { sha256 } from '../../core/sha256.ts'
import { grouped } from '../../core/text/numbers.ts'
import { version } from '../../core/version.ts'
import { engineOf } from '../../engine/contract/engine.ts'
import { ABLATION_FILE, HEADER_FILE, type RowFormat, rowFile } from '../../node/routes/files.ts'
import { FORMAT, type RecordedRouter, type Route, type RoutesHeader } from '../../node/routes/format.ts'
import { PlacesInDocuments } from '../../node/routes/places.ts'
import { ReplayedRoutes } from '../../node/routes/replay.ts'
import { openRowWriter, type RowWriter } from '../../node/routes/write-rows.ts'
import { NewFolder } from '../../node/run/new-folder.ts'
import { writeError } from '../../node/system/disk.ts'
import { heldOutBatches } from '../../train/data/batches.ts'
import type { Dataset } from '../../train/data/dataset.ts'
import { Pace } from '../../train/data/streams/progress.ts'
import type { OnMessage } from '../../train/run/messages.ts'
import { runNotices } from '../../train/run/notices.ts'
import { type CompiledTracer, compileTracer } from '../../use/infer/compiled-tracer.ts'
import type { RouterTrace } from '../../use/infer/routing-tracer.ts'
import { openEvaluationText } from '../../use/runs/evaluation-text.ts'
import { loadModel, type ModelChoice, type TrainedModel } from '../../use/runs/trained-model.ts'
import { measureAblation } from './ablation.ts'

export interface RecordOptions {
  /** New or empty folder of the record. */
  readonly out: string
  /** Text, all of which is recorded. Default: the held-out text of the run. */
  readonly source?: string | readonly string[]
  /** Maximum number of tokens, in whole windows from all of the text; at least one window is recorded. Default: all. */
  readonly tokens?: number
  /** Capacity rule of the routes. Default: `none`, so that the routes of a text do not depend on other texts. */
  readonly capacity?: CapacityRule
  /** Default: `jsonl`. */
  readonly format?: RowFormat
  /**
   * Number of tokens, in whole batches, on which each expert is left out, to measure how much the loss rises without it
   * (`ablation.json`). Default: this is not measured.
   */
  readonly ablate?: number
  /**
   * Folder of a record of the same text whose experts take the place of the model's choices; the gates are the model's
   * own. Tokens that the record does not have are left to the routers. Or a file of a server's answers; then only its
   * tokens are recorded.
   */
  readonly replay?: string
  readonly signal?: AbortSignal
  readonly onMessage?: OnMessage
}

export interface RecordRunOptions extends RecordOptions, ModelChoice {}

/**
 * Records the routes of a checkpoint of a run, or of a model in a folder of transformers.
 * @returns The description of the record.
 * @throws UsageError if the model is dense, the folder is not free, or text or model cannot be used; the reason of
 * `signal` when it is aborted. Then nothing is left behind.
 */
export const recordRun = (directory: string, options: RecordRunOptions): Promise<RoutesHeader> =>
  inNewFolder(options, async (folder) => {
    const trained = await loadModel(directory, options, options.onMessage ?? (() => {}))
    try {
      return await recordInto(folder, trained, options)
    } finally {
      await trained.close()
    }
  })

/** Records as {@link recordRun} does, with a model that is loaded already. */
export const recordModel = (trained: TrainedModel, options: RecordOptions): Promise<RoutesHeader> =>
  inNewFolder(options, (folder) => recordInto(folder, trained, options))

/** A folder that cannot be used is refused before a model is loaded. */
async function inNewFolder<T>({ out }: RecordOptions, record: (folder: NewFolder) => Promise<T>): Promise<T> {
  const folder = await NewFolder.begin(out)
  try {
    return await record(folder)
  } catch (error) {
    await folder.discard()
    throw error
  }
}

async function recordInto(folder: NewFolder, trained: TrainedModel, options: RecordOptions): Promise<RoutesHeader> {
  const { capacity = 'none', onMessage = () => {}, replay } = options
  if (replay !== undefined && options.ablate !== undefined)
    throw new UsageError(
      wording`invalid ${option('ablate')}: it has no effect with ${option('replay')} (record twice: without an expert the model itself must choose)`,
    )
  const compiled = await compileTracer(trained, capacity, { entropy: true, replay: replay !== undefined })
  try {
    const data = await openEvaluationText(trained, options.source, options)
    try {
      options.signal?.throwIfAborted()
      for (const message of runNotices(trained.runtime, trained.config, [{ activity: 'evaluation', rule: capacity }]))
        onMessage({ kind: 'notice', message })
      const header = await writeTable(folder.path, trained, compiled, data, options)
      if (options.ablate !== undefined) {
        const pace = new Pace()
        const ablation = await measureAblation(compiled, trained.store, data, {
          tokens: options.ablate,
          signal: options.signal,
          onPass(done, most) {
            if (pace.due() !== undefined)
              onMessage({
                kind: 'prepare',
                message: `leaving out experts: ${grouped(done)} of ${grouped(most)} passes`,
              })
          },
        })
        await writeFile(join(folder.path, ABLATION_FILE), `${JSON.stringify(ablation, null, 1)}\n`, { flush: true })
      }
      await writeFile(join(folder.path, HEADER_FILE), `${JSON.stringify(header, null, 1)}\n`, { flush: true })
      await folder.finish()
      return header
    } catch (error) {
      if (options.signal?.aborted || error instanceof UsageError || error instanceof RunError) throw error
      throw await writeError(`write ${options.out}`, folder.path, error, undefined, 'Nothing was left behind.')
    } finally {
      await data.close()
    }
  } finally {
    compiled.tracer.release()
  }
}

/** Writes the table, and returns the description of the record. */
async function writeTable(
  folder: string,
  trained: TrainedModel,
  compiled: CompiledTracer,
  data: Dataset,
  {
    source = trained.config.data.source,
    tokens = Infinity,
    capacity = 'none',
    format = 'jsonl',
    replay,
    ...options
  }: RecordOptions,
): Promise<RoutesHeader> {
  const { tokenizer, config } = trained
  const { tracer, batch } = compiled
  const { sequence } = config.model
  const { heldOut } = data
  const { signal, onMessage = () => {} } = options
  const places = await PlacesInDocuments.of(data)
  const tokenizerHash = await sha256(tokenizer.json)
  const replayedModel = {
    ...{ model: config.model, tokenizer: tokenizerHash, text: data.hash, signal: options.signal },
    ...{ field: option('replay'), expected: 'a record of the same text with the same tokenizer' },
  }
  const replayed = replay === undefined ? null : await ReplayedRoutes.read(replay, replayedModel)
  const windows = Math.max(1, Math.floor(tokens / sequence))
  const total = Math.min(heldOut.length - 1, windows * sequence)
  const pace = new Pace()
  const texts: string[] = []
  let writer: RowWriter | undefined
  let routers: readonly RecordedRouter[] = []
  let [recorded, index, nats, targets] = [0, 0, 0, 0]
  try {
    for (const { counted, starts } of heldOutBatches(heldOut, { batch, sequence }, tracer.batch)) {
      signal?.throwIfAborted()
      const { tokens: token_T, targets: target_T } = tracer.batch
      const size = token_T.length
      const placeOf = (t: number) =>
        (target_T[t] as number) < 0 ? null : places.at((starts[Math.floor(t / sequence)] as number) + (t % sequence))
      const isReplayed_T = replayed
        ? Array.from(token_T, (token, t) => replayed.fill(placeOf(t), token, tracer.given, t))
        : null
      const { loss, routers: traced } = await tracer.run('eval', index)
      routers = traced.map((router, i) =>
        recordedRouter(router, compiled.config.model.moe, capacity, size, tracer.capacities[i] ?? null),
      )
      writer ??= await openRowWriter(join(folder, rowFile(format)), format, routers)
      for (let t = 0; t < Math.min(batch, windows - index * batch) * sequence; t++) {
        const place = placeOf(t)
        // Filler has no target; the separator before the first document belongs to no document.
        if (place === null || (replayed?.source.imported !== undefined && !isReplayed_T?.[t])) continue
        places.count(place)
        const token = token_T[t] as number
        texts[token] ??= tokenizer.show(token)
        const text = texts[token]
        await writer.add({ ...place, token, text, routes: routesOf(traced, routers, t, size) })
        recorded++
      }
      nats += loss * counted
      targets += counted
      if (pace.due() !== undefined)
        onMessage({ kind: 'prepare', message: `recorded ${grouped(targets)} of ${grouped(total)} tokens` })
      if (++index * batch >= windows) break
    }
    replayed?.expectFound()
    await writer?.end()
  } catch (error) {
    await writer?.abandon()
    throw error
  }
  return {
    kind: 'routes',
    format: FORMAT,
    program: `choir ${version()}`,
    model: {
      directory: trained.directory,
      step: trained.step,
      weights: trained.weights,
      engine: { ...engineOf(trained.runtime) },
      config: config.model,
    },
    tokenizer: { vocabulary: config.model.vocabulary, sha256: tokenizerHash },
    text: {
      source: typeof source === 'string' ? source : source.join(', '),
      hash: data.hash,
      documents: heldOut.documents,
      // Without the separators before the first document and after the last.
      tokens: heldOut.length - 2,
    },
    capacity,
    loss: targets > 0 ? nats / targets : null,
    ...replayed?.source,
    routers: [...routers],
    tokens: recorded,
    file: rowFile(format),
    documents: places.recorded(),
  }
}

/** The description of a router in a record. @param tokens Number of tokens of the pass. */
function recordedRouter(
  { layer, module, experts, prototypes, expert_TK }: RouterTrace,
  { router }: MoeConfig,
  rule: CapacityRule,
  tokens: number,
  capacity: number | null,
): RecordedRouter {
  // With a capacity, experts choose tokens; without one, every token takes its top k.
  const isChosen = router === 'expert-choice' && rule !== 'none'
  return { layer, module, experts, prototypes, choices: isChosen ? null : expert_TK.length / tokens, capacity }
}

/** The decisions for token `t`. Where experts choose tokens, the chosen experts are those that took the token. */
function routesOf(
  traced: readonly RouterTrace[],
  routers: readonly RecordedRouter[],
  t: number,
  tokens: number,
): Route[] {
  return traced.map(({ expert_TK, gate_TK, kept_TK, entropy_T }, i): Route => {
    const [experts, gates, dropped]: [number[], number[], number[]] = [[], [], []]
    const places = expert_TK.length / tokens
    const choosesTokens = (routers[i] as RecordedRouter).choices === null
    for (let at = t * places; at < (t + 1) * places; at++) {
      const isKept = kept_TK[at] === 1
      if (choosesTokens && !isKept) continue
      experts.push(expert_TK[at] as number)
      gates.push(gate_TK[at] as number)
      if (!isKept) dropped.push(expert_TK[at] as number)
    }
    return { experts, gates, entropy: entropy_T ? (entropy_T[t] as number) : null, dropped }
  })
}
