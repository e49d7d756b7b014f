/**
 * Imports a model as a run directory: reads its configuration, compares its tensors with the tensors of a model of this
 * configuration, and only then writes. One of our tensors is in memory at a time.
 */
import { sizeOf } from '../../../core/graph/shape.ts'
import { initialScales } from '../../../train/step/initialize.ts'
import { ourTensors } from '../../foreign/architectures/ours.ts'
import { foreignRunConfig, openForeignTokenizer, openForeignWeights, sequenceOf } from '../../foreign/foreign-model.ts'
import { openOrigin } from './origin.ts'
import { type ImportReport, mappedTensors, textsOf } from './report.ts'
import { addNoise, denseNameOf, newRouter, type Upcycling, upcycledModel } from './upcycle.ts'
import { refuseOccupied, writeRun } from './write-run.ts'

export interface ImportOptions {
  /** How experts are made of a dense model's networks; default: they are not. */
  readonly upcycle?: Upcycling
  /** Longest sequence, at most the longest of the model. Default: the longest of the model, at most 1,024. */
  readonly sequence?: number
  /** Seed of new routers and noise; default 0. */
  readonly seed?: number
  readonly signal?: AbortSignal
  /** Called after every tensor, with bytes of all tensors written so far and in total. */
  readonly onProgress?: (done: number, total: number) => void
}

/**
 * Imports a model.
 * @param folder A folder in Hugging Face's layout, a GGUF file, or, to upcycle it, the directory of a dense run.
 * @param out The new run directory.
 * @throws UsageError if Choir does not compute the model; RunError if files are missing or damaged
 */
export async function importModel(folder: string, out: string, options: ImportOptions = {}): Promise<ImportReport> {
  const { upcycle, seed = 0, signal, onProgress } = options
  await refuseOccupied(out)
  const origin = await openOrigin(folder, upcycle !== undefined)
  const { model: original, theirs } = origin
  const sequence = sequenceOf(original.sequence, options.sequence)
  const model = { ...(upcycle ? upcycledModel(original, upcycle) : original), sequence }
  const tokenizer = openForeignTokenizer(folder, origin, model.vocabulary)
  const config = foreignRunConfig({ ...origin.run, model })
  const weights = await openForeignWeights(folder, origin)
  try {
    const { stored } = weights
    const ours = ourTensors(model)
    const originOf = (name: string) => (upcycle ? denseNameOf(name) : name)
    const uses = new Map<string, string[]>()
    for (const { name } of ours) {
      const from = originOf(name)
      if (from !== null) uses.set(from, [...(uses.get(from) ?? []), name])
    }
    const written = 4 * ours.reduce((sum, { shape }) => sum + sizeOf(shape), 0)
    const report: ImportReport = {
      kind: 'import',
      folder,
      directory: out,
      architecture: origin.architecture,
      parameters: written / 4,
      bytes: { read: theirs.reduce((sum, { name }) => sum + bytesOf(stored.get(name)?.entry), 0), written },
      ...textsOf(tokenizer),
      notices: origin.notices,
      ignoredKeys: origin.ignoredKeys,
      ignoredTensors: weights.ignored,
      tensors: mappedTensors(theirs, uses, stored),
      made: ours.filter(({ name }) => originOf(name) === null),
    }
    const scale = initialScales(config).router
    let done = 0
    await writeRun(out, {
      config,
      tokenizer: origin.tokenizer,
      rules: origin.rules,
      data: origin.data,
      tensors: ours,
      report,
      async read(tensor) {
        signal?.throwIfAborted()
        const from = originOf(tensor.name)
        const values = from === null ? newRouter(tensor, seed, scale) : await weights.read(tensor, from)
        if (upcycle?.noise && tensor.name.includes('.experts.')) addNoise(values, tensor.name, seed, upcycle.noise)
        done += values.byteLength
        onProgress?.(done, written)
        return values
      },
    })
    return report
  } finally {
    await weights.close()
  }
}

const bytesOf = (entry: { readonly begin: number; readonly end: number } | undefined): number =>
  entry ? entry.end - entry.begin : 0
